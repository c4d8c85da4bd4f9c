/* Operands and forms of instructions that the translator writes often. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import { Engine, Tlb } from "../wasm/layout.ts";
import { type Assembler, form, memory, NONE, register, type RegisterOrMemory, W } from "./assembler.ts";
import { ADDRESS, FILE, FILE_BIAS, Info, Native, SCRATCH } from "./layout.ts";

/** A word of the register file. */
export const field = (offset: number): RegisterOrMemory => memory(FILE, offset - FILE_BIAS);
const GPR_FIELDS = Array.from({ length: 16 }, (_, n) => field(Reg.GPR + 8 * n));
export const gprField = (n: number): RegisterOrMemory => GPR_FIELDS[n];
export const FUEL = field(Engine.FUEL);
export const PAGE_VA = field(Reg.PAGE_VA);
export const RFLAGS = field(Reg.RFLAGS);
export const FLAGS = field(Native.FLAGS);
export const TLB = field(Native.TLB);
export const TEMP = field(Native.TEMP);
export const TEMP2 = field(Native.TEMP2);
export const TEMP3 = field(Native.TEMP3);
/** Of the guest's memory, where an access has been found to be. */
export const AT_ADDRESS = memory(ADDRESS, 0, NONE, 0, true);
/** Fields of a TLB entry. */
export const [TLB_READ, TLB_WRITE, TLB_ADDEND] = [Tlb.READ, Tlb.WRITE, Tlb.ADDEND].map((at) => memory(SCRATCH, at));
export const W16 = form(false, 0x66);
export const B16 = form(false, 0x66, true);

/** The condition A (Cc) holds then if ADDRESS is not canonical. SCRATCH is lost. */
export function compareCanonical(a: Assembler): void {
  a.moveRegister(SCRATCH, ADDRESS);
  a.shift(7, register(SCRATCH), 47, true);
  a.arithmetic(0, register(SCRATCH), 1);
  a.arithmetic(7, register(SCRATCH), 1);
}
/** Code begins at a multiple of 4, so that it can be copied by words (kept-code.ts). */
export const inWords = (at: number): number => (at + 3) & -4;
/** The size of the access that INFO is about. */
export function loadSize(a: Assembler, to: number): void {
  a.load32(to, field(Native.INFO));
  a.shift(5, register(to), Info.SIZE);
  a.arithmetic(4, register(to), 2 ** Info.SIZE_BITS - 1, false);
}
/** To Native.TARGET. */
export function goToTarget(a: Assembler): void {
  a.load32(SCRATCH, field(Native.TARGET));
  a.op(0x03, SCRATCH, field(Native.CODE), W);
  a.raw(0xff, 0xe0); // jmp rax
}
/** Leaves native code. @param why Left  @param out the way out, where EAX says why */
export function leave(a: Assembler, why: number, out: number): void {
  a.byte(0xb8); // mov eax
  a.word(why);
  a.jump(out);
}
