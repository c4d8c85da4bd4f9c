/* Memory for machine code and calls into it, through node:ffi; and what the host's processor must have for it. Undefined elsewhere than on Linux on x86-64.
 * @source mmap(2), memfd_create(2), arch_prctl(2), dlopen(3) */
import { closeSync, readFileSync, writeSync } from "node:fs";
import type * as nodeFfi from "node:ffi";
import { CRYPTO_FEATURES } from "../isa/features.ts";
import { leaveOut } from "../engine/native/supported.ts";
import { withCLibrary } from "../device/c-library.ts";
import { MADV_HUGEPAGE } from "../device/libc.ts";
import { sharedObject } from "../engine/native/elf.ts";
import { NativeCode, type NativeHost } from "../engine/native/native-code.ts";
import { isWholeFile, NewKeptCode, openKeptFiles } from "./kept-files.ts";
import type { NativeFactory } from "../engine/wasm/engine.ts";

const PROT_READ_WRITE_EXECUTE = 7;
const PROT_READ_WRITE = 3;
const PROT_READ = 1;
const MAP_FILE = 0x2 | 0x10; // private, at that address
const PAGE = 4096;
const MAP_CODE = 0x2 | 0x20 | 0x4000; // private, anonymous, without reserve
const MAP_LOW = 0x2 | 0x20 | 0x40; // private, anonymous, below 2 GiB
const LOW_BYTES = 4096n;
const MFD_CLOEXEC = 1;
const SYS_ARCH_PRCTL = 158n;
const ARCH_SET_GS = 0x1001n;
const FAILED = 2n ** 64n - 1n;
const TWO_GIB = 0x8000_0000n;
/** What the guest's processor has beyond SSE2, by the names of /proc/cpuinfo. */
const NEEDED = "cx16 pni ssse3 sse4_1 sse4_2 popcnt lahf_lm bmi1 bmi2 abm movbe adx".split(" ");

const SIGNATURES = {
  mmap: { arguments: ["uint64", "uint64", "int32", "int32", "int32", "int64"], return: "uint64" },
  madvise: { arguments: ["uint64", "uint64", "int32"], return: "int32" },
  munmap: { arguments: ["uint64", "uint64"], return: "int32" },
  memfd_create: { arguments: ["buffer", "uint32"], return: "int32" },
  clock_gettime: { arguments: ["int32", "uint64"], return: "int32" },
  syscall: { arguments: ["int64", "int64", "uint64"], return: "int64" },
} as const;

type Functions = nodeFfi.DynamicLibraryResult<typeof SIGNATURES>["functions"];

const TRIAL_BYTES = 4096;
const RETURN_42 = [0xb8, 42, 0, 0, 0, 0xc3];

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
/** Runs three instructions. */
function tryOut(functions: Functions, ffi: typeof nodeFfi): string | undefined {
  const memory = mapCode(functions, TRIAL_BYTES);
  if (memory === undefined) return "no memory can be both written and executed";
  try {
    if (functions.syscall(SYS_ARCH_PRCTL, ARCH_SET_GS, 0n) !== 0n) return "the GS base cannot be set";
    new Uint8Array(ffi.toArrayBuffer(memory.address, TRIAL_BYTES, false)).set(RETURN_42);
    ffi.setUint64(memory.low, 0, memory.address);
    return caller(functions, ffi)(Number(memory.low)) === 42 ? undefined : "machine code cannot be called";
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

/** For the calling thread. @param state, frames, tables memories that do not move  @param codeBytes room for code  @param kept directory of kept code; undefined: none is kept
 *  @returns undefined where it can't be had */
export function nativeHost(
  state: WebAssembly.Memory,
  frames: WebAssembly.Memory,
  tables: WebAssembly.Memory,
  codeBytes: number,
  kept: string | undefined,
): NativeHost | undefined {
  if (nativeUnavailable() !== undefined) return undefined;
  return withCLibrary(SIGNATURES, ({ functions, ffi }) => {
    const files = kept === undefined ? [] : openKeptFiles(kept);
    const allBytes = files.reduce((bytes, file) => bytes + wholePages(file.bytes), wholePages(codeBytes));
    const memory = mapCode(functions, allBytes);
    if (memory === undefined) return undefined;
    const { address, low, release } = memory;
    const code = new Uint8Array(ffi.toArrayBuffer(address, allBytes, false));
    // what often runs is close together, but of many pages
    functions.madvise(address, BigInt(codeBytes), MADV_HUGEPAGE);
    const ramAddress = addressOf(ffi, frames);
    const setBase = (): boolean => functions.syscall(SYS_ARCH_PRCTL, ARCH_SET_GS, ramAddress) === 0n;
    setBase();
    inForce = ramAddress;
    return {
      code,
      codeBytes,
      kept:
        kept === undefined
          ? undefined
          : Object.assign(new NewKeptCode(kept), { mapped: mapFiles(functions, files, code, address, codeBytes) }),
      codeAddress: address,
      context: new BigUint64Array(ffi.toArrayBuffer(low, Number(LOW_BYTES), false)),
      contextAddress: Number(low),
      release,
      stateAddress: addressOf(ffi, state),
      ramAddress,
      select: () => {
        if (inForce !== ramAddress) setBase();
        inForce = ramAddress;
      },
      tablesAddress: addressOf(ffi, tables),
      clockAddress: functions.clock_gettime.pointer,
      call: caller(functions, ffi),
    };
  });
}
const wholePages = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
/** Maps files behind the room for code. @returns where those are that are whole */
function mapFiles(
  { mmap }: Functions,
  files: readonly { readonly fd: number; readonly bytes: number }[],
  code: Uint8Array,
  address: bigint,
  codeBytes: number,
): number[] {
  const mapped: number[] = [];
  let at = wholePages(codeBytes);
  for (const { fd, bytes } of files) {
    const there = bytes > 0 && mmap(address + BigInt(at), BigInt(bytes), PROT_READ, MAP_FILE, fd, 0n) !== FAILED;
    closeSync(fd);
    if (there && isWholeFile(code.subarray(at), bytes)) mapped.push(at);
    at += wholePages(bytes);
  }
  return mapped;
}
/** Memory for code, and 4 KiB below 2 GiB. */
function mapCode(
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
/** The thread's GS base. */
let inForce = 0n;

type Call = NativeHost["call"];
let call: Call | undefined;
/** One library serves the whole process. */
function caller(functions: Functions, ffi: typeof nodeFfi): Call {
  if (call) return call;
  const fd = functions.memfd_create(Buffer.from("mere\0"), MFD_CLOEXEC);
  writeSync(fd, sharedObject("enter"));
  const made = ffi.dlopen(`/proc/self/fd/${fd}`, { enter: { arguments: ["int32"], return: "int32" } });
  closeSync(fd);
  return (call = made.functions.enter);
}
function addressOf(ffi: typeof nodeFfi, { buffer }: WebAssembly.Memory): bigint {
  return ffi.getRawPointer(buffer as unknown as ArrayBuffer);
}

/** For TranslationOptions.native. @param kept directory of kept code; undefined: none is kept */
export const nativeCodeKeptIn =
  (kept: string | undefined): NativeFactory =>
  (blocks, state, ram, table, resolve, limits) => {
    const there = hostCryptoFeatures();
    const absent = [...CRYPTO_FEATURES.keys()].filter((feature) => !there.includes(feature));
    if (absent.length > 0) leaveOut(new Set(absent));
    const host = nativeHost(state, ram.pool.shared.memory, ram.shared.tables, limits.codeCacheBytes, kept);
    return host && new NativeCode(host, blocks, state, ram, table, resolve);
  };
export const nativeCode: NativeFactory = nativeCodeKeptIn(undefined);
