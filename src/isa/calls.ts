/* The calls that semantic functions may make: rare, stateful work in plain TypeScript over Cpu (cpu.ts). One list:
 * name → argument count, result, and whether the call may change what runs next (then it ends the block).
 * The implementations are gathered in system/calls.ts; engines bind them as imports, the oracle calls them directly.
 * Arguments and results are 64-bit integers (bigint on the TypeScript side). */
import type { Cpu } from "./cpu.ts";

export interface CallSpec {
  readonly args: number;
  readonly result: boolean;
  readonly run: (cpu: Cpu, ...args: bigint[]) => bigint | void;
}

/** Filled by the area files (system/, x87, sse): each exports a record of CallSpec, merged in system/calls.ts.
 *  A name is a plain string here so that the areas stay independent; a test checks that every name used exists. */
export type CallName = string;
