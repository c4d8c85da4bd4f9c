/* Native code's host: memory for an executor's code, kept code behind it, and calls. @source mmap(2), arch_prctl(2) */
import { closeSync } from "node:fs";
import type * as nodeFfi from "node:ffi";
import { CRYPTO_FEATURES } from "../isa/features.ts";
import { leaveOut } from "../engine/native/supported.ts";
import { withCLibrary } from "../device/c-library.ts";
import { MADV_HUGEPAGE } from "../device/libc.ts";
import { isWholeFile } from "../engine/native/kept-file.ts";
import { NativeCode, type NativeHost } from "../engine/native/native-code.ts";
import { ExecutorFiles, openKeptFiles } from "./kept-files.ts";
import {
  ARCH_SET_GS,
  caller,
  FAILED,
  type Functions,
  hostCryptoFeatures,
  LOW_BYTES,
  mapCode,
  nativeUnavailable,
  SIGNATURES,
  SYS_ARCH_PRCTL,
} from "./native-support.ts";
import type { NativeFactory } from "../engine/wasm/engine.ts";

const PROT_READ = 1;
const MAP_FILE = 0x2 | 0x10; // private, at that address
const PAGE = 4096;

/** The thread's GS base. */
let inForce = 0n;

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
    return {
      code,
      codeBytes,
      kept:
        kept === undefined ? undefined : new ExecutorFiles(kept, mapFiles(functions, files, code, address, codeBytes)),
      codeAddress: address,
      context: new BigUint64Array(ffi.toArrayBuffer(low, Number(LOW_BYTES), false)),
      contextAddress: Number(low),
      release,
      stateAddress: addressOf(ffi, state),
      ramAddress: addressOf(ffi, frames),
      setGsBase: (address) => {
        if (inForce !== address) functions.syscall(SYS_ARCH_PRCTL, ARCH_SET_GS, address);
        inForce = address;
      },
      tablesAddress: addressOf(ffi, tables),
      clockAddress: functions.clock_gettime.pointer,
      call: caller(functions, ffi),
    };
  });
}
const wholePages = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
/** Maps files behind the room for code. @returns where those are that are whole, and their paths */
function mapFiles(
  { mmap }: Functions,
  files: ReturnType<typeof openKeptFiles>,
  code: Uint8Array,
  address: bigint,
  codeBytes: number,
): [at: number, path: string][] {
  const mapped: [number, string][] = [];
  let at = wholePages(codeBytes);
  for (const { fd, path, bytes } of files) {
    const there = bytes > 0 && mmap(address + BigInt(at), BigInt(bytes), PROT_READ, MAP_FILE, fd, 0n) !== FAILED;
    closeSync(fd);
    if (there && isWholeFile(code.subarray(at), bytes)) mapped.push([at, path]);
    at += wholePages(bytes);
  }
  return mapped;
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
    if (absent.length > 0) leaveOut(absent);
    const host = nativeHost(state, ram.pool.shared.memory, ram.shared.tables, limits.codeCacheBytes, kept);
    return host && new NativeCode(host, blocks, state, ram, table, resolve);
  };
export const nativeCode: NativeFactory = nativeCodeKeptIn(undefined);
