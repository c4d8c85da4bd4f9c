/* The compute programs, as shell lines that mean the same in a guest and on the host. Variables: bench/guest.ts, suiteScript. */

/** One program: its name in the table, and the line that runs it and makes it print "@begin name" and "@end name checksum nanoseconds". */
export interface SuiteEntry {
  readonly name: string;
  readonly line: string;
}
export type Suite = readonly SuiteEntry[];

const compiled = (name: string): SuiteEntry => ({ name, line: `"$D/${name}" $scale` });
const busybox = (name: string, words: string): SuiteEntry => ({ name, line: `"$D/timed" ${name} "$B" ${words} <"$T"` });
/** @param input "text" is 2000 KiB at full scale, "text.small" a tenth and "text.large" six times that */
const debian = (name: string, words: string, input = "text"): SuiteEntry => ({
  name,
  line: `"$D/timed" ${name} $C ${words} <"$T${input.slice("text".length)}"`,
});

const PYTHON = `python3 -c '
import sys, hashlib, json
def queens(n, row=0, cols=0, up=0, down=0):
    if row == n: return 1
    found, free = 0, ~(cols | up | down) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        found += queens(n, row + 1, cols | bit, (up | bit) << 1, (down | bit) >> 1)
    return found
words = {}
for line in sys.stdin:
    for word in line.split(): words[word] = words.get(word, 0) + 1
print(queens(7), len(words), pow(3, 20011) % 1000003, sum(1 / (i * i) for i in range(1, 20000)))
'`;
const PERL = `perl -e 'my %n; while (<STDIN>) { my ($k, $w) = split; $n{$w} += $k; s/(\\w+) (\\w+)/$2 $1/; $x ^= length; } print "$_ $n{$_}\\n" for sort keys %n; print "$x\\n"'`;
const SQL = `sqlite3 :memory: "create table t(a integer, b text); with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i * 7919 % 10007, 'row ' || i from n; create index t_a on t(a); select count(*), sum(a), max(b) from t where a between 100 and 5000; select a % 10, count(*), avg(a) from t group by 1 order by 1;"`;

/** By the VM boot that they share. */
export const SUITE = {
  compute: [
    ...[
      "sort",
      "hash",
      "tree",
      "matrix-int",
      "matrix-float",
      "lz",
      "aes",
      "bignum",
      "nbody",
      "fft",
      "mandelbrot",
      "search",
      "calls",
      "long-double",
    ].map(compiled),
    { name: "busybox-sha256sum", line: `"$D/timed" busybox-sha256sum "$B" sha256sum <"$T.large"` },
    busybox("busybox-gzip", "gzip -c"),
    busybox("busybox-sort", "sort"),
    {
      name: "busybox-awk",
      line: `"$D/timed" busybox-awk "$B" awk '{ n[$2] += $1; gsub(/a/, "b"); c += length($0) } END { for (i = 0; i < 20000; i++) x = (x * 31 + i) % 65521; print NR, c, n["the"], x }' <"$T.small"`,
    },
  ],
  debian: [
    debian("python3", PYTHON, "text.small"),
    debian("perl", PERL, "text.small"),
    debian("openssl-sha512", "openssl dgst -sha512", "text.large"),
    debian(
      "openssl-aes",
      "openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00 -nosalt",
      "text.large",
    ),
    debian("sqlite3", SQL),
    debian("xz", "xz -1 -c"),
    debian("zstd", "zstd -3 -q -c", "text.large"),
  ],
} as const satisfies Record<string, Suite>;

export type SuiteName = keyof typeof SUITE;
