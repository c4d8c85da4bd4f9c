/* Runs stress-ng's verifying stressors in a guest, one after the other and round after round, and says what failed.
 *
 *   node tools/stress.ts [--minutes N] [--seconds N] [--cpus N] [--executors N] [--memory MIB] [--only NAME,…] [--more]
 *                        [--without PASS,…] [--threshold N|Infinity] [--code-cache MIB]
 *
 * --seconds is the time of one stressor; --minutes the time of all rounds, of which the last may be cut short; --more adds further stressors.
 * --without turns passes of the translator off, and --threshold Infinity the translator as a whole: to find what is to blame.
 * Exit status 1 if a stressor failed, the kernel complained, or the VM did not end as it should. Needs what tests/support/debian-disk.ts needs.
 */
import { parseArgs } from "node:util";
import { ownInitGuest } from "../src/cli/guest-files.ts";
import { keptCodeDirectory } from "../src/image/cache.ts";
import { openRawDisk } from "../src/disk/raw.ts";
import { createMachine, type Machine, type MachineConfig } from "../src/vm/machine.ts";
import { debianDisk } from "../tests/support/debian-disk.ts";

const PACKAGES = ["bash", "dash", "coreutils", "grep", "mount", "util-linux", "base-files", "base-passwd", "stress-ng"];
const DISK_MIB = 1024;
const MIB = 2 ** 20;
/** Options of each stressor besides its number of workers. */
const STRESSORS: Readonly<Record<string, string>> = {
  cpu: "--cpu-method all",
  vm: "--vm-bytes 64M",
  memcpy: "",
  atomic: "",
  sigq: "",
  sigsegv: "",
  signal: "",
  sigfpe: "",
  futex: "",
  fork: "",
  mmap: "--mmap-bytes 64M",
  mutex: "",
  switch: "",
  pipe: "",
  str: "",
  matrix: "",
  qsort: "",
  zlib: "",
};
const MORE: Readonly<Record<string, string>> = {
  bsearch: "",
  context: "",
  crypt: "",
  fp: "",
  funccall: "",
  goto: "",
  hash: "",
  heapsort: "",
  hsearch: "",
  icache: "",
  judy: "",
  longjmp: "",
  lockbus: "",
  membarrier: "",
  memthrash: "",
  mergesort: "",
  misaligned: "",
  mprotect: "",
  mremap: "--mremap-bytes 16M",
  radixsort: "",
  regs: "",
  sem: "",
  shm: "--shm-bytes 4M",
  sigabrt: "",
  sigrt: "",
  sparsematrix: "",
  stack: "",
  syscall: "",
  "tlb-shootdown": "",
  tree: "",
  tsearch: "",
  vecfp: "",
  vecmath: "",
  vecshuf: "",
  wcs: "",
};
/** Of the kernel's messages. Signals that stressors ask for are no trouble. */
const TROUBLE =
  /WARNING|BUG:|Oops|[Uu]nable to|Call Trace|general protection|traps:|segfault|stall|lockup|I\/O error|EXT4-fs (error|warning)/;
const [DONE, MESSAGES] = ["=== done ", "=== dmesg"];

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seconds: { type: "string", default: "10" },
    cpus: { type: "string", default: "2" },
    executors: { type: "string" },
    memory: { type: "string", default: "1024" },
    only: { type: "string" },
    more: { type: "boolean", default: false },
    without: { type: "string" },
    threshold: { type: "string" },
    "code-cache": { type: "string" },
  },
});
const { cpus, seconds } = options;
const known = { ...STRESSORS, ...MORE };
const names = options.only?.split(",") ?? Object.keys(options.more ? known : STRESSORS);
const failures: string[] = [];

/** Each stressor reports its status by a line; after each round come new messages of the kernel. */
function script(): string {
  const runs = names.map(
    (name) =>
      `left || break; echo "=== ${name}"; stress-ng --verify --${name} ${cpus} ${known[name] ?? ""} -t ${seconds} 2>&1; echo "${DONE}${name} $?"`,
  );
  return `mount -t tmpfs tmp /tmp && cd /tmp || exit 1
end=$(($(date +%s) + ${Math.round(60 * Number(options.minutes))})); left() { [ $(date +%s) -lt $end ]; }
while left; do
  ${runs.join("\n  ")}
  echo "${MESSAGES}"; dmesg -c
done
echo "${MESSAGES}"; dmesg -c`;
}

let stressor = "";
let output: string[] = [];
let inMessages = false;
function onLine(machine: Machine, line: string): void {
  if (line === MESSAGES) inMessages = true;
  else if (line.startsWith(DONE)) report(machine, Number(line.split(" ").at(-1)));
  else if (line.startsWith("=== ")) {
    inMessages = false;
    stressor = line.slice(4);
    output = [];
  } else if (!inMessages) output.push(line);
  else if (TROUBLE.test(line)) {
    failures.push(`the kernel says: ${line}`);
    console.log(line);
  }
}
function report(machine: Machine, status: number): void {
  const said = output.find((line) => /: fail: |: error: |unsuccessful run/.test(line));
  const failed = status !== 0 || said !== undefined;
  const { translated, seconds: since } = machine.stats();
  const rss = Math.round(process.memoryUsage().rss / MIB);
  console.log(
    `${since.toFixed(0).padStart(5)} s  ${stressor.padEnd(14)} ${failed ? `FAILED (${status})` : "ok"}  rss ${rss} MiB, ${translated["regions"]} regions, ${translated["dropped"]} dropped (${translated["evicted"]} for want of room), ${(translated["bytes"]! / MIB).toFixed(1)} MiB of wasm`,
  );
  if (!failed) return;
  failures.push(stressor);
  console.log(output.join("\n"));
}

async function configuration(): Promise<MachineConfig> {
  const boot = { kind: "own-init", kernel: "debian", append: "root=/dev/vda", console: false, stdin: false } as const;
  const { kernel, initrd, commandLine } = await ownInitGuest({ ...boot, command: ["sh", "-c", script()] }, true, {});
  const off = options.without?.split(",") ?? [];
  return {
    cpus: Number(cpus),
    ...(options.executors !== undefined && { executors: Number(options.executors) }),
    memoryBytes: Number(options.memory) * MIB,
    kernel,
    initrd,
    commandLine,
    disks: [await openRawDisk(await debianDisk(PACKAGES, { sizeMib: DISK_MIB }), { readOnly: true })],
    passes: Object.fromEntries(off.map((name) => [name, false])),
    ...(options.threshold !== undefined && { regionLimits: { threshold: Number(options.threshold) } }),
    ...(options["code-cache"] !== undefined && { codeCacheBytes: Number(options["code-cache"]) * MIB }),
  };
}

let serial = "";
let rest = "";
const decoder = new TextDecoder();
const config = await configuration();
const machine: Machine = await createMachine({
  ...config,
  keptCode: keptCodeDirectory(),
  serialOutput(bytes) {
    serial = (serial + Buffer.from(bytes).toString("latin1")).slice(-8000);
  },
  consoleOutput(bytes) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).replaceAll("\r", "").split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(machine, line);
  },
});
machine.start();
const { reason, detail } = await machine.wait();
if (reason !== "poweroff" || !inMessages) {
  failures.push(`the VM ended with ${reason} during ${stressor}`);
  console.log([...output.slice(-20), detail ?? "", serial].join("\n"));
}
const { retired, translated, exits } = machine.stats();
console.log(`${retired} instructions`, { translated, exits });
for (const failure of failures) console.log(`failed: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
