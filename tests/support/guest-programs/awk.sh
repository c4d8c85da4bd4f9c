for awk in mawk gawk; do
	echo $awk
	$awk '{ for (i = 1; i <= NF; i++) count[$i]++ } END { for (word in count) print word, count[word] }' "$INPUTS/text.txt" | sort | sha256sum
	$awk '{ s += $1; q += $1 * $1; if ($1 > m) m = $1 } END { printf "%.17g %.17g %.17g %.17g\n", s, q, m, s / NR }' "$INPUTS/numbers.txt"
	$awk 'BEGIN { for (i = -20; i <= 20; i++) { x = i / 7; printf "%.17g %.17g %.17g %.17g %.17g %d\n", sin(x), cos(x), exp(x * 10), atan2(x, 3), log(x * x + 1), int(x * 1000) } }'
	$awk 'BEGIN { for (i = 0; i < 200; i++) { x = (x * 1103515245 + 12345) % 2147483648; print x, x ^ 0.5, x ^ 3, x / 7 } }'
	$awk 'BEGIN { printf "%e %f %g %x %o %c %s %5.3s| %-8d| %+d\n", 1e300 * 10, 1 / 3, 2 ^ 53 + 1, 255, 8, 65, "text", "truncated", 42, 7; print 1e308 * 10, -1e308 * 10, log(-1) }' 2>&1
	$awk '{ gsub(/[aeiou]+/, "<&>"); n += gsub(/<e>/, ""); t = t substr($0, 3, 2) } END { print n, length(t), toupper(substr(t, 100, 60)), index(t, "zz"), match(t, /q+u/), RLENGTH }' "$INPUTS/text.txt"
done
gawk 'BEGIN { print and(0xf0f0, 0xff), xor(5, 3), lshift(1, 40), rshift(2 ^ 52, 7), strtonum("0x1fffffffffffff"); n = split("c b a d", a); asort(a); for (i = 1; i <= n; i++) print a[i]; print gensub(/(b+)/, "[\\1]", "g", "abbbcb"); print strftime("%F %T", 1e9, 1) }'
gawk -M 'BEGIN { PREC = 200; print 2 ^ 300; printf "%.50f\n", 1 / 7; print 10 ^ 40 % 1234567; printf "%.40f\n", sin(1) }'
