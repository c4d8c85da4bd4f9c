/* The programs of the benchmark, as shell lines that mean the same in a guest and on the host, grouped into suites: the programs of one share a VM.
 *
 * Variables of the lines: V is a disk to write to, D is where the programs are, B busybox, T the text (made when a line names it), C the prefix of Debian's programs, W a directory
 * for files that they see as P, M a directory on a tmpfs, N the host's address and port the one of
 * bench/network.ts's server; scale is in percent. Set by bench/init-script.ts in guests and by bench/measure.ts on the host. */

/** One program: its name in the tables, and the line that runs it and makes it print "@begin name" and "@end name checksum nanoseconds". */
export interface SuiteEntry {
  readonly name: string;
  readonly line: string;
  /** Runs before, and is not measured: makes input, or brings a program's files into memory. */
  readonly setup?: string;
}

export interface Suite {
  readonly entries: readonly SuiteEntry[];
  /** Of the VM; on the host of the programs. */
  readonly cpus: number;
  /** Needs Debian's programs. */
  readonly debian: boolean;
  /** Needs a network device and the server on the host. */
  readonly network?: boolean;
  /** Needs a disk of its own to write to; natively a file. */
  readonly scratch?: boolean;
}

const compiled = (name: string): SuiteEntry => ({ name, line: `"$D/${name}" $scale` });
const busybox = (name: string, words: string): SuiteEntry => ({ name, line: `"$D/timed" ${name} "$B" ${words} <"$T"` });
/** @param input "text" is 2000 KiB at full scale, "text.small" a tenth and "text.large" six times that
 *  @param warm runs the program for a moment, so that the disk is not measured */
const debian = (name: string, words: string, input = "text", warm?: string): SuiteEntry => ({
  name,
  line: `"$D/timed" ${name} $C ${words} <"$T${input.slice("text".length)}"`,
  setup: `$C ${warm ?? `${words.split(" ")[0]} --version`} >/dev/null 2>&1`,
});
const network = (name: string): SuiteEntry => ({ name: `net-${name}`, line: `"$D/net" ${name} $scale $N $port` });
const kernel = (name: string): SuiteEntry => ({ name, line: `"$D/kernel" ${name} $scale "$M"` });
/** Runs before for some seconds, so that an engine has translated the kernel's code and the host has the disk in its memory. */
const disk = (kind: string): SuiteEntry => ({
  name: `disk-${kind}`,
  line: `"$D/disk" ${kind} "$V" $scale`,
  setup: `"$D/disk" ${kind} "$V" $((6 * scale)) >/dev/null`,
});
const signatures = (kind: string): SuiteEntry => ({
  name: `openssl-${kind}`,
  line: `"$D/timed" openssl-${kind} $C python3 - ${kind} $scale <"$D/openssl.py"`,
  setup: `$C python3 - ${kind} 0 <"$D/openssl.py" >/dev/null 2>&1`,
});
/** A program of so many files that make builds with two compilers at a time; its output is what is compared. */
const make = (name: string): SuiteEntry => ({
  name,
  line: `"$D/timed" ${name} $C sh -c 'cd "$P/project" && make -s -j2 && ./program'`,
  setup: `${WARM_GCC}; rm -rf "$W/project"; "$D/source" $((3 * scale)) "$W/project" 4`,
});
/** Reads the driver, the compiler, the assembler and the linker. */
const WARM_GCC = `$C sh -c 'echo "int main(void) { return 0; }" | gcc -O1 -x c - -o "$P/warm"; make --version' >/dev/null 2>&1`;

const PYTHON = `python3 -c '
import sys
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
print(queens(6), len(words), pow(3, 20011) % 1000003, sum(1 / (i * i) for i in range(1, 10000)))
'`;
const PERL = `perl -e 'my %n; while (<STDIN>) { my ($k, $w) = split; $n{$w} += $k; s/(\\w+) (\\w+)/$2 $1/; $x ^= length; } print "$_ $n{$_}\\n" for sort keys %n; print "$x\\n"'`;
const SQL = `sqlite3 :memory: "create table t(a integer, b text); with recursive n(i) as (select 1 union all select i + 1 from n where i < 200 * $scale) insert into t select i * 7919 % 10007, 'row ' || i from n; create index t_a on t(a); select count(*), sum(a), max(b) from t where a between 100 and 5000; select a % 10, count(*), avg(a) from t group by 1 order by 1;"`;
const AES_KEY = "-K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00";

const COMPUTE: readonly SuiteEntry[] = [
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
    line: `"$D/timed" busybox-awk "$B" awk '{ n[$2] += $1; gsub(/a/, "b"); c += length($0) } END { for (i = 0; i < 200 * '"$scale"'; i++) x = (x * 31 + i) % 65521; print NR, c, n["the"], x }' <"$T.small"`,
  },
];
const DEBIAN: readonly SuiteEntry[] = [
  debian("python3", PYTHON, "text.small"),
  debian("perl", PERL, "text.small"),
  debian("sqlite3", SQL),
  debian("openssl-sha256", "openssl dgst -sha256", "text.large", "openssl version"),
  debian("openssl-sha512", "openssl dgst -sha512", "text.large", "openssl version"),
  debian("openssl-aes", `openssl enc -aes-256-cbc ${AES_KEY} -nosalt`, "text.large", "openssl version"),
  signatures("rsa"),
  signatures("ecdsa"),
  debian("gzip", "gzip -6 -n -c"),
  debian("xz", "xz -1 -c"),
  debian("zstd", "zstd -3 -q -c", "text.large"),
  debian("bzip2", "bzip2 -9 -c", "text", "bzip2 --help"),
  {
    name: "gcc",
    line: `"$D/timed" gcc $C sh -c 'gcc -O2 -c -x c - -o "$P/gcc.o" && cat "$P/gcc.o"' <"$W/gcc.c"`,
    setup: `${WARM_GCC}; "$D/source" $((20 * scale)) >"$W/gcc.c"`,
  },
];
export const SUITES = {
  compute: { entries: COMPUTE, cpus: 1, debian: false },
  debian: { entries: DEBIAN, cpus: 1, debian: true },
  kernel: {
    entries: ["syscall", "pipe", "fork", "exec", "fault", "mmap", "files", "signal", "futex"].map(kernel),
    cpus: 1,
    debian: false,
  },
  disk: {
    entries: [
      "read",
      "write",
      "random-read",
      "random-write",
      "random-read-16",
      "random-write-16",
      "buffered-read",
      "buffered-write",
      "flush",
    ].map(disk),
    cpus: 1,
    debian: false,
    scratch: true,
  },
  net: {
    entries: ["send", "receive", "latency", "connect"].map(network),
    cpus: 1,
    debian: false,
    network: true,
  },
  // The same work on one processor and on two.
  smp1: {
    entries: [{ name: "one-job", line: `"$D/parallel" one-job processes 1 $scale` }, make("make-on-1")],
    cpus: 1,
    debian: true,
  },
  smp2: {
    entries: [
      { name: "two-processes", line: `"$D/parallel" two-processes processes 2 $scale` },
      { name: "two-threads", line: `"$D/parallel" two-threads threads 2 $scale` },
      make("make-on-2"),
    ],
    cpus: 2,
    debian: true,
  },
  // Only for --features.
  paravirtual: {
    entries: ["clock", "copy"].map((name) => ({ name, line: `"$D/paravirtual" ${name} $scale` })),
    cpus: 1,
    debian: false,
  },
} as const satisfies Record<string, Suite>;

export type SuiteName = keyof typeof SUITES;
export const SUITE_NAMES = Object.keys(SUITES) as readonly SuiteName[];

/** Does one of the suites need a disk of its own? */
export function needsScratch(suites: readonly SuiteName[]): boolean {
  return suites.some((suite) => (SUITES[suite] as Suite).scratch === true);
}

/** Does one of the suites need a network? */
export function needsNetwork(suites: readonly SuiteName[]): boolean {
  return suites.some((suite) => (SUITES[suite] as Suite).network === true);
}

/** The suite of a program; undefined if there is none of this name. */
export function suiteOf(program: string): SuiteName | undefined {
  return SUITE_NAMES.find((suite) => SUITES[suite].entries.some(({ name }) => name === program));
}

/** Shell lines that run a suite's entries: in the guest and natively. `only` in the environment chooses from them. */
export function suiteScript(entries: readonly SuiteEntry[]): string {
  return [
    "texts() {",
    '	[ -e "$T" ] && return',
    '	"$D/text" $((20 * scale)) >"$T"',
    '	"$D/text" $((2 * scale)) >"$T.small"',
    '	cat "$T" "$T" "$T" "$T" "$T" "$T" >"$T.large"',
    "}",
    ...entries.map(({ name, line, setup }) => {
      const before = [line.includes("$T") ? "texts" : "", setup ?? ""].filter((words) => words !== "");
      return `case ",$only," in *,${name},* | ,,) ${[...before, line].join("\n")} ;; esac`;
    }),
  ].join("\n");
}

/** Files of the programs' directory that the chosen entries use. */
export function programsOf(entries: readonly SuiteEntry[]): ReadonlySet<string> {
  const used = new Set<string>();
  for (const { line, setup } of entries)
    for (const [, name] of `${line} ${setup ?? ""}`.matchAll(/"\$D\/([\w.-]+)"/g)) used.add(name!);
  if (entries.some(({ line }) => line.includes("$T"))) used.add("text");
  if (used.has("kernel")) used.add("nothing");
  return used;
}
