/* Operands and forms of instructions that the translator writes often. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import { Tlb } from "../wasm/layout.ts";
import { type Assembler, form, Host, memory, NONE, register, type RegisterOrMemory, W } from "./assembler.ts";
import { ADDRESS, BANK, Frame, FRAME_GPRS, Info, Native, SCRATCH } from "./layout.ts";

/** A word of the vCPU's area, the register file first, which is where GS points to. @param index register that is added */
export const field = (offset: number, index: number = NONE): RegisterOrMemory => memory(NONE, offset, index, 0, true);
/** A word of the frame. @param depth words that were pushed behind it */
export const inFrame = (offset: number, depth = 0): RegisterOrMemory => memory(Host.RSP, offset + 8 * depth);
const GPRS = new Map(FRAME_GPRS.map(([n, offset]) => [n, inFrame(offset)]));
/** A register of the guest's that is IN_MEMORY. */
export const gprWord = (n: number): RegisterOrMemory => GPRS.get(n)!;
/** Its upper half. */
export const gprUpper = (n: number): RegisterOrMemory => memory(Host.RSP, gprWord(n).disp + 4);
export const FUEL = inFrame(Frame.FUEL);
export const PAGE_VA = inFrame(Frame.PAGE_VA);
export const RFLAGS = field(Reg.RFLAGS);
export const FLAGS = inFrame(Frame.FLAGS);
export const TEMP = inFrame(Frame.TEMP);
export const TEMP2 = inFrame(Frame.TEMP2);
export const TEMP3 = field(Native.TEMP3);
/** Of the guest's memory, where an access has been found to be. */
export const AT_ADDRESS = memory(ADDRESS, 0);
/** Fields of the TLB entry whose distance from the bank is in a register. */
export const tlbField = (word: number, distance: number): RegisterOrMemory => memory(BANK, word, distance);
/** … in SCRATCH. */
export const [TLB_READ, TLB_WRITE, TLB_HOST] = [Tlb.READ, Tlb.WRITE, Tlb.HOST].map((word) => tlbField(word, SCRATCH));
export const W16 = form(false, 0x66);
export const B16 = form(false, 0x66, true);

/** The condition NZ (Cc) holds then if ADDRESS is not canonical. SCRATCH is lost. */
export function compareCanonical(a: Assembler): void {
  a.vex(3, 3, 0xf0, SCRATCH, 0, register(ADDRESS), W); // rorx
  a.byte(47);
  // the upper 17 bits are the lower ones now: with 1 added all but the lowest are 0 if they were the same
  a.arithmetic(0, register(SCRATCH), 1, false);
  a.test(register(SCRATCH), 0x1fffe);
}
/** Code is copied by words (kept-code.ts). */
export const inWords = (at: number): number => (at + 3) & -4;
/** Blocks begin at multiples of 16: loops that do not take up to a third longer on a processor that fetches by such pieces. */
export const blockStart = (at: number): number => (at + 15) & -16;
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
