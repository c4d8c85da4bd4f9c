/* Translated code as the run loop and the vCPUs see it, whoever translates: regions in WebAssembly (translator/regions.ts) or native code (../native/native-code.ts). */
import type { WasmVcpu } from "./vcpu.ts";

/** What was installed so far; dropped for whatever reason, and of these for want of room. */
export interface HotCodeCounts {
  regions: number;
  instructions: number;
  bytes: number;
  dropped: number;
  evicted: number;
  declined: number;
  /** Of those installed, the ones that were kept from an earlier run. */
  kept: number;
}

export interface HotCode {
  readonly counts: HotCodeCounts;
  /** Is code translated before it runs for the first time? */
  readonly translatesAll: boolean;
  /** Is it to be told by `see` where slices end? */
  readonly wantsSamples: boolean;
  /** Gives back what it has. Nothing may run any more. */
  dispose(): void;
  /** There is time for what is not urgent. */
  idle(): void;
  /** The vCPU that runs from now on. @param vcpu address of its register file */
  select(vcpu: number): void;
  /** Has the block with this first entry been translated? */
  isRegion(entry: number): boolean;
  /** The interpreter's block for a place where translated code begins. @param address in the frames memory */
  notePlain(address: number, entry: number): void;
  /** For tools: the translated code that is entered at an address in the frames memory. */
  at(address: number):
    | {
        readonly runs: readonly { frame: number; from: number; to: number }[];
        readonly places: readonly number[];
        readonly seed: number;
      }
    | undefined;
  /** A slice ended at this address, or translated code was left for it often. @param address in the frames memory  @param weight as so many slices
   *  @returns is there nothing to find here: it is translated, or never will be? */
  see(vcpu: WasmVcpu, address: number, weight?: number): boolean;
  outgrown(vcpu: WasmVcpu, entry: number): void;
  /** Installs what is ready. */
  install(): void;
  /** For tests: translated code of this one instruction. @returns its entry, 0 if it is the interpreter's */
  single(bytes: Uint8Array, offset: number): number;
  /** The interpreter has an instruction to do of translated code. @param vcpu address of its register file  @param address of the instruction in the frames memory */
  noteCrossing(vcpu: number, address: number): void;
  /** @returns 0 if the pages are mapped as when it was translated */
  validate(vcpu: WasmVcpu, entry: number): number;
}
