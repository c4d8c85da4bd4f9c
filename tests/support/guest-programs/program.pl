# Numbers, regular expressions, sorting, packing and closures of perl.
use strict;
use warnings;

my $state = 12345;
sub next_number { $state = ($state * 1103515245 + 12345) % 2147483648; return $state }

for my $i (-12 .. 12) {
    my $x = $i * 1.7 + 0.3;
    printf "%.17g %.17g %.17g %.17g %.17g %.17g %d\n", sin $x, cos $x, exp $x, atan2($x, 2), abs($x)**0.37, sqrt abs $x, $x * 1000;
}
print join(' ', map { $_ / 7 } 1 .. 40), "\n";
print 2**53 + 1, ' ', 18446744073709551615, ' ', 18446744073709551616, ' ', 9223372036854775807 + 1, ' ', -7 % 3, ' ', 7 % -3, ' ', 1e15 / 3, ' ', 0.1 + 0.2 - 0.3, "\n";
{ use integer; print -7 / 2, ' ', -7 % 3, ' ', 9223372036854775807 + 1, "\n" }
print 9**9**9, ' ', -9**9**9, ' ', 1e308 * 10 / (1e308 * 10), ' ', 0xffffffff << 8 ^ 0x5555, ' ', ~0 >> 3, ' ', int(-3.7), ' ', hex 'deadbeef', ' ', oct '0b1011', "\n";
printf "%s %e %g %.3f %x %o %b %vd %5s|%-5s|%05d %+d %.0f %.0f %a\n", 1e21, 12345.678, 1e-5, 2.0005, 255, 8, 5, '1.22.333', 'ab', 'cd', 42, 7, 0.5, 1.5, 3.14159;

my @numbers = map { next_number() } 1 .. 5000;
my @sorted = sort { $a <=> $b } @numbers;
print "@sorted[0 .. 9] @sorted[-5 .. -1]\n";
my @strings = sort { length $a <=> length $b or $b cmp $a } map { sprintf '%x', $_ } @numbers[0 .. 999];
print "@strings[0 .. 9] @strings[-5 .. -1]\n";
my $sum = 0;
$sum += $_ * $_ / 3 for @numbers;
printf "%.17g\n", $sum;

open my $file, '<', $ARGV[0] or die $!;
my (%count, $text);
while (<$file>) { $text .= $_; $count{$_}++ for /\w+/g }
my @words = sort { $count{$b} <=> $count{$a} or $a cmp $b } keys %count;
print join(', ', map { "$_ $count{$_}" } @words[0 .. 9]), "\n";
my $vowels = () = $text =~ /[aeiou]{2,}(?!n)/g;
my $pairs = () = $text =~ /\b(\w+) (?:\w+ )?\g1\b/g;
(my $swapped = substr $text, 0, 300) =~ s/(\w+) (\w+)/\u$2 \L$1/g;
print "$vowels $pairs $swapped ", scalar reverse(substr $text, 50, 40), ' ', ($text =~ tr/e//), "\n";
print unpack('%32C*', $text), ' ', join(',', unpack 'A3 x2 n N v V w', "abcde\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d"), ' ', unpack('H*', pack 'd> f< q l S U w', 1.1, 2.2, -3, -4, 5, 6, 300), "\n";
print unpack('H*', pack 'F D', 1 / 3, 1 / 3), "\n";

my @closures = map { my $n = $_; sub { $n += shift; $n * 1.5 } } 1 .. 5;
print join(' ', map { $_->(10) + $_->(0.25) } @closures), "\n";
sub ackermann { my ($m, $n) = @_; return $m == 0 ? $n + 1 : $n == 0 ? ackermann($m - 1, 1) : ackermann($m - 1, ackermann($m, $n - 1)) }
{ no warnings 'recursion'; print ackermann(2, 30), "\n" }
my @primes = grep { my $n = $_; not grep { $n % $_ == 0 } 2 .. sqrt $n } 2 .. 800;
print "@primes\n";
eval { my $zero = 0; my $x = 1 / $zero; 1 } or print $@ =~ s{ at .*}{}sr, "\n";
local $SIG{ALRM} = sub { die "alarm\n" };
eval { kill ALRM => $$; select undef, undef, undef, 5; 1 } or print $@ =~ s{ at .*}{}sr, "\n";
my $version = 'az9'; $version++; print "$version\n";
