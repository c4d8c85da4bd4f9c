/* What native code needs of the host, and whether it is there: memory for machine code and calls into it, through node:ffi, and a processor. For threads that run none as well.
 * @source mmap(2), memfd_create(2), arch_prctl(2), dlopen(3) */
import { closeSync, readFileSync, writeSync } from "node:fs";
import type * as nodeFfi from "node:ffi";
import { CRYPTO_FEATURES } from "../isa/features.ts";
import { withCLibrary } from "../device/c-library.ts";
import { sharedObject } from "../engine/native/elf.ts";

const PROT_READ_WRITE_EXECUTE = 7;
const PROT_READ_WRITE = 3;
const MAP_CODE = 0x2 | 0x20 | 0x4000; // private, anonymous, without reserve
const MAP_LOW = 0x2 | 0x20 | 0x40; // private, anonymous, below 2 GiB
export const LOW_BYTES = 4096n;
const MFD_CLOEXEC = 1;
export const SYS_ARCH_PRCTL = 158n;
export const ARCH_SET_GS = 0x1001n;
export const FAILED: bigint = 2n ** 64n - 1n;
const TWO_GIB = 0x8000_0000n;
/** What the guest's processor has beyond SSE2, by the names of /proc/cpuinfo; not ABM (LZCNT), which some hypervisors hide from CPUID: TRIAL finds it. */
const NEEDED = "cx16 pni ssse3 sse4_1 sse4_2 popcnt lahf_lm bmi1 bmi2 movbe adx".split(" ");

export const SIGNATURES = {
  mmap: { arguments: ["uint64", "uint64", "int32", "int32", "int32", "int64"], return: "uint64" },
  madvise: { arguments: ["uint64", "uint64", "int32"], return: "int32" },
  munmap: { arguments: ["uint64", "uint64"], return: "int32" },
  memfd_create: { arguments: ["buffer", "uint32"], return: "int32" },
  clock_gettime: { arguments: ["int32", "uint64"], return: "int32" },
  syscall: { arguments: ["int64", "int64", "uint64"], return: "int64" },
} as const;

export type Functions = nodeFfi.DynamicLibraryResult<typeof SIGNATURES>["functions"];

const TRIAL_BYTES = 4096;
/** MOV ECX, 1; LZCNT EAX, ECX; RET: 31, or 0 where LZCNT is BSR. */
const TRIAL = [0xb9, 1, 0, 0, 0, 0xf3, 0x0f, 0xbd, 0xc1, 0xc3];
const TRIAL_ANSWER = 31;
const ANSWER_OF_BSR = 0;

let reason: { readonly text: string | undefined } | undefined;
/** Why there is no native code here, to follow "since"; undefined if there is. */
export function nativeUnavailable(): string | undefined {
  reason ??= { text: reasonAgainst() };
  return reason.text;
}
function reasonAgainst(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "it is for Linux on x86-64";
  const missing = missingFeatures();
  if (missing.length > 0) return `the processor lacks ${missing.join(", ")}`;
  const trial = withCLibrary(SIGNATURES, ({ functions, ffi }) => ({ reason: tryOut(functions, ffi) }));
  return trial === undefined ? "this Node cannot call the C library (node:ffi is off)" : trial.reason;
}
/** Runs TRIAL. */
function tryOut(functions: Functions, ffi: typeof nodeFfi): string | undefined {
  const memory = mapCode(functions, TRIAL_BYTES);
  if (memory === undefined) return "no memory can be both written and executed";
  try {
    if (functions.syscall(SYS_ARCH_PRCTL, ARCH_SET_GS, 0n) !== 0n) return "the GS base cannot be set";
    new Uint8Array(ffi.toArrayBuffer(memory.address, TRIAL_BYTES, false)).set(TRIAL);
    ffi.setUint64(memory.low, 0, memory.address);
    const answer = caller(functions, ffi)(Number(memory.low));
    if (answer === ANSWER_OF_BSR) return "the processor lacks abm";
    return answer === TRIAL_ANSWER ? undefined : "machine code cannot be called";
  } catch (error) {
    return `machine code cannot be called (${error instanceof Error ? error.message : String(error)})`;
  } finally {
    memory.release();
  }
}
function missingFeatures(): string[] {
  return NEEDED.filter((flag) => !hostFlags().has(flag));
}
let flags: ReadonlySet<string> | undefined;
/** What the host's processor has, by the names of /proc/cpuinfo. */
function hostFlags(): ReadonlySet<string> {
  return (flags ??= readFlags());
}
function readFlags(): ReadonlySet<string> {
  try {
    return new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(" "));
  } catch {
    return new Set(); // none are known
  }
}
/** Of CRYPTO_FEATURES, what this host's processor has. */
export function hostCryptoFeatures(): string[] {
  return [...CRYPTO_FEATURES].flatMap(([feature, flag]) => (hostFlags().has(flag) ? [feature] : []));
}

/** Memory for code, and 4 KiB below 2 GiB. */
export function mapCode(
  { mmap, munmap }: Functions,
  codeBytes: number,
): { readonly address: bigint; readonly low: bigint; release(this: void): void } | undefined {
  const low = mmap(0n, LOW_BYTES, PROT_READ_WRITE, MAP_LOW, -1, 0n);
  if (low === FAILED) return undefined;
  const bytes = BigInt(codeBytes);
  const address = mmap(0n, bytes, PROT_READ_WRITE_EXECUTE, MAP_CODE, -1, 0n);
  if (low < TWO_GIB && address !== FAILED) {
    const release = (): void => {
      munmap(address, bytes);
      munmap(low, LOW_BYTES);
    };
    return { address, low, release };
  }
  munmap(low, LOW_BYTES);
  if (address !== FAILED) munmap(address, bytes);
  return undefined;
}
/** Calls the function whose address stands at an address below 2 GiB, with that as argument. */
type Call = (context: number) => number;
let call: Call | undefined;
/** One library serves the whole process. */
export function caller(functions: Functions, ffi: typeof nodeFfi): Call {
  if (call) return call;
  const fd = functions.memfd_create(Buffer.from("mere\0"), MFD_CLOEXEC);
  writeSync(fd, sharedObject("enter"));
  const made = ffi.dlopen(`/proc/self/fd/${fd}`, { enter: { arguments: ["int32"], return: "int32" } });
  closeSync(fd);
  return (call = made.functions.enter);
}
