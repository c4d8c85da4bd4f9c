/* MXCSR: control and status of SSE floating point, and how an instruction's exceptions reach the guest.
 * @source SDM vol. 1 §10.2.3, §11.5
 *
 *   bits 0–5 IE DE ZE OE UE PE, sticky · 6 DAZ · 7–12 their masks · 13–14 RC · 15 FTZ · others reserved
 */
import { type Cpu, GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";

/** Exception flags, as in MXCSR bits 0–5. */
export const FpFlag = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;

export const Mxcsr = {
  FLAGS: 0x3f,
  DAZ: 1 << 6,
  /** Masks stand this many bits above their flags. */
  MASK_SHIFT: 7,
  RC_SHIFT: 13,
  FTZ: 1 << 15,
  /** Bits that LDMXCSR and FXRSTOR accept (MXCSR_MASK). */
  VALID: 0xffff,
  RESET: 0x1f80,
} as const;

/** Rounding modes as MXCSR.RC and ROUNDxx encode them. */
export const RoundingControl = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;
export type RoundingControl = 0 | 1 | 2 | 3;

export const roundingOf = (mxcsr: number): RoundingControl => ((mxcsr >> Mxcsr.RC_SHIFT) & 3) as RoundingControl;

/** Exceptions found before the result is computed; an unmasked one keeps the later ones from being reported. */
const BEFORE_RESULT = FpFlag.IE | FpFlag.DE | FpFlag.ZE;
const CR4_OSXMMEXCPT = 1n << 10n;

/** Those of an instruction's flags that are unmasked. @param flags all lanes together */
export const unmasked = (flags: number, mxcsr: number): number => flags & ~(mxcsr >> Mxcsr.MASK_SHIFT) & Mxcsr.FLAGS;

/** The flags that MXCSR gets from an instruction whose lanes found `flags`.
 *  @source SDM vol. 1 §11.5.3, App. E.4.2 */
export function reportedFlags(flags: number, mxcsr: number): number {
  return unmasked(flags & BEFORE_RESULT, mxcsr) ? flags & BEFORE_RESULT : flags;
}

/** Makes flags sticky in the vCPU's MXCSR; raises #XM (#UD without CR4.OSXMMEXCPT) if one is unmasked.
 *  Call before anything of the result is visible. */
export function raiseFp(cpu: Cpu, flags: number): void {
  if (flags === 0) return;
  const mxcsr = cpu.regs.get32(Reg.MXCSR);
  const reported = reportedFlags(flags, mxcsr);
  cpu.regs.set32(Reg.MXCSR, mxcsr | reported);
  if (unmasked(reported, mxcsr)) throw new GuestFault(cpu.regs.get64(Reg.CR4) & CR4_OSXMMEXCPT ? Vector.XM : Vector.UD);
}
