/* A row of the instruction tables: one encoding form, in the manual's own operand codes.
 * @source SDM vol. 2D App. A (opcode maps), vol. 2A §3.1.1 */
import type { Semantics } from "./sem.ts";

/** SDM App. A operand codes. Addressing letter + type letter(s). The decoder's operands.ts gives each its width and source:
 *  E G I J M N P Q R S V W B(VEX.vvvv GPR) O X Y Z(low three opcode bits) C D; fixed registers: "AL" "CL" "eAX" "rAX" "1"…  */
export type OperandCode = string;

export interface RowOptions {
  /** Opcode extension: ModRM.reg must be this. */
  ext?: number;
  /** ModRM.mod must be (reg: 3) or must not be (mem) 3. */
  mod?: "reg" | "mem";
  /** ModRM.rm must be this (with mod "reg"). */
  rm?: number;
  /** Mandatory prefix ("none": neither 66 F3 F2). Absent: prefixes keep their usual meaning. */
  prefix?: "none" | "66" | "F3" | "F2";
  /** VEX encoding required: L bit, W bit if fixed. Rows without it refuse VEX. */
  vex?: { l?: 0 | 1; w?: 0 | 1 };
  /** REX.W must be. */
  w?: 0 | 1;
  /** LOCK allowed when operand 0 is memory. */
  lock?: boolean;
  /** Fixed or default operand size: "64" always 8 (near branches); "d64" default 8, 66h gives 2 (PUSH, POP); "byte" 1. */
  size?: "64" | "d64" | "byte" | "32";
  /** #GP unless CPL is 0. */
  privileged?: boolean;
  /** CPUID feature that must be on, else #UD (cpuid.ts names). */
  feature?: string;
  /** Ends a decoded block: changes RIP, the mode, interrupts or translations. */
  ends?: boolean;
  /** Flags left undefined by the manual (ignored by comparisons with a processor). */
  undefined?: string;
  /** FPU kind, for #NM/#UD checks: "x87" (CR0.EM|TS), "sse" (CR0.EM → #UD, CR4.OSFXSR = 0 → #UD, CR0.TS → #NM),
   *  "mmx" (CR0.EM → #UD, CR0.TS → #NM). */
  unit?: "x87" | "sse" | "mmx";
  /** The manual allows results to differ between processors (RCPPS, RSQRTPS): comparisons take a relative error of 1.5 · 2⁻¹². */
  approximate?: boolean;
  /** Which NaN of several results is left open (DPPS): comparisons take any NaN for any other. */
  anyNan?: boolean;
  /** 16-byte memory operand must be aligned, else #GP. */
  aligned?: boolean;
  /** Data the semantic function was closed over is visible in the mnemonic; condition code for Jcc/SETcc/CMOVcc. */
  cc?: number;
}

export interface Row extends RowOptions {
  /** Opcode map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A, or "x87" escapes D8–DF in map 0. */
  readonly map: 0 | 1 | 2 | 3;
  readonly opcode: number;
  readonly mnemonic: string;
  readonly semantics: Semantics;
  readonly operands: readonly OperandCode[];
  /** Index in the list of all rows, given by tables/index.ts. */
  id: number;
}

/** All have the same shape, which is what makes looking at one fast. */
const NO_OPTIONS = Object.fromEntries(
  "ext mod rm prefix vex w lock size privileged feature ends undefined unit approximate anyNan aligned cc"
    .split(" ")
    .map((name) => [name, undefined]),
) as unknown as RowOptions;

export function rowsOf(map: Row["map"]) {
  return (
    opcode: number,
    mnemonic: string,
    sem: Semantics,
    operands: readonly OperandCode[] = [],
    options: RowOptions = {},
  ): Row => ({
    map,
    opcode,
    mnemonic,
    semantics: sem,
    operands,
    id: -1,
    ...NO_OPTIONS,
    ...options,
  });
}
