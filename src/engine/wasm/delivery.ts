/* Delivery of faults and external interrupts in the shapes that 64-bit kernels use, without bigints and exceptions: an interrupt or trap gate to the kernel's flat
 * 64-bit code segment, from there or from user code, by RSP0, an IST stack or the current one. Whatever is not so is left, with nothing changed, to
 * isa/system/exceptions.ts, which does all of it and is the reference. Runs on the executor's thread, between instructions.
 * @source SDM vol. 3A §6.12–6.14 */
import { flagsOfHalves } from "../../isa/flags.ts";
import { Reg, Rflags, SegmentIndex } from "../../isa/registers.ts";
import { Attributes, SystemType } from "../../isa/system/descriptors.ts";
import { isCanonicalHigh } from "../../isa/system/linear-address.ts";
import type { Mmu } from "./mmu.ts";

/** Descriptor of the kernel's code segment: 64-bit, flat, DPL 0, accessed. */
const CODE_LOW = 0x0000_ffff;
const CODE_HIGH = 0x00af_9b00;
const FLAT_LIMIT = -1;
const PAGE = 4096;
const GATE_PRESENT = 0x8000;
/** Offsets in the TSS. */
const TSS_RSP0 = 4;
const TSS_IST = 28;
const NO_ERROR_CODE = -1;
/** SS RSP RFLAGS CS RIP. */
const FRAME_BYTES = 40;

const segment = (index: number): number => Reg.SEG + 16 * index;

export class Delivery {
  readonly #words: Int32Array;
  /** Word index of the register file. */
  readonly #at: number;
  readonly #ram: Int32Array;
  readonly #mmu: Mmu;
  /** The handler, between the steps. */
  #ripLow = 0;
  #ripHigh = 0;
  #selector = 0;
  #type = 0;
  #ist = 0;
  #rspLow = 0;
  #rspHigh = 0;

  /** @param words of the state memory  @param ram words of the frames memory */
  constructor(area: number, words: Int32Array, ram: Int32Array, mmu: Mmu) {
    this.#at = area >> 2;
    this.#words = words;
    this.#ram = ram;
    this.#mmu = mmu;
  }

  #get(register: number): number {
    return this.#words[this.#at + (register >> 2)];
  }
  #set(register: number, value: number): void {
    this.#words[this.#at + (register >> 2)] = value;
  }
  /** Word index in the frames memory of a linear address that the processor itself reads or writes; −1 if it cannot do so simply.
   *  @param base register that holds the address  @param offset of at most some KiB */
  #find(base: number, offset: number): number {
    const sum = (this.#get(base) >>> 0) + offset;
    const high = (this.#get(base + 4) + (sum > 0xffff_ffff ? 1 : 0)) | 0;
    if ((sum & 3) !== 0 || (sum & (PAGE - 1)) > PAGE - 16) return -1;
    return this.#mmu.systemAddress(sum | 0, high, false) / 4;
  }

  /** An exception that is a fault, or an external interrupt; Reg.RIP is what goes on the stack.
   *  @param errorCode −1: the vector has none  @param isFault RF is set in the flags on the stack
   *  @returns false: not done */
  deliver(vector: number, errorCode: number, isFault: boolean): boolean {
    if ((this.#get(Reg.DR + 56) & 0xff) !== 0 || !this.#readGate(vector) || !this.#readStack()) return false;
    const size = errorCode === NO_ERROR_CODE ? FRAME_BYTES : FRAME_BYTES + 8;
    const top = (this.#rspLow & -16) >>> 0;
    if ((top & (PAGE - 1)) !== 0 && (top & (PAGE - 1)) < size) return false;
    const low = (top - size) | 0;
    const high = (this.#rspHigh - (top < size ? 1 : 0)) | 0;
    if (!isCanonicalHigh(high)) return false;
    const frame = this.#mmu.systemAddress(low, high, true) / 4;
    if (frame < 0) return false;
    this.#push(frame, errorCode, isFault);
    this.#enter(low, high);
    return true;
  }

  #readGate(vector: number): boolean {
    if (vector * 16 + 15 > this.#get(Reg.IDTR_LIMIT)) return false;
    const gate = this.#find(Reg.IDTR_BASE, vector * 16);
    if (gate < 0) return false;
    const [low, middle, high] = [this.#ram[gate], this.#ram[gate + 1], this.#ram[gate + 2]];
    this.#type = (middle >> 8) & 31;
    this.#ist = middle & 7;
    this.#selector = low >>> 16;
    this.#ripLow = (middle & 0xffff_0000) | (low & 0xffff);
    this.#ripHigh = high;
    if (this.#type !== SystemType.INTERRUPT_GATE && this.#type !== SystemType.TRAP_GATE) return false;
    if ((middle & GATE_PRESENT) === 0 || (this.#selector & 7) !== 0 || !isCanonicalHigh(high)) return false;
    return this.#isKernelCode(this.#selector);
  }
  #isKernelCode(selector: number): boolean {
    if ((selector | 7) > this.#get(Reg.GDTR_LIMIT)) return false;
    const descriptor = this.#find(Reg.GDTR_BASE, selector);
    return descriptor >= 0 && this.#ram[descriptor] === CODE_LOW && this.#ram[descriptor + 1] === CODE_HIGH;
  }
  /** The stack pointer before the frame. */
  #readStack(): boolean {
    const offset = this.#ist !== 0 ? TSS_IST + 8 * this.#ist : this.#get(Reg.CPL) === 3 ? TSS_RSP0 : 0;
    if (offset === 0) {
      this.#rspLow = this.#get(Reg.GPR + 32);
      this.#rspHigh = this.#get(Reg.GPR + 36);
      return true;
    }
    const tr = segment(SegmentIndex.TR);
    if (offset + 7 > this.#get(tr + 4) >>> 0) return false;
    const at = this.#find(tr + 8, offset);
    if (at < 0) return false;
    this.#rspLow = this.#ram[at];
    this.#rspHigh = this.#ram[at + 1];
    return isCanonicalHigh(this.#rspHigh);
  }

  #push(frame: number, errorCode: number, isFault: boolean): void {
    const ram = this.#ram;
    let at = frame;
    const push = (low: number, high: number): void => {
      ram[at] = low;
      ram[at + 1] = high;
      at += 2;
    };
    if (errorCode !== NO_ERROR_CODE) push(errorCode, 0);
    push(this.#get(Reg.RIP), this.#get(Reg.RIP + 4));
    push(this.#get(segment(SegmentIndex.CS)) & 0xffff, 0);
    push(this.#rflags() | (isFault ? Rflags.RF : 0), 0);
    push(this.#get(Reg.GPR + 32), this.#get(Reg.GPR + 36));
    push(this.#get(segment(SegmentIndex.SS)) & 0xffff, 0);
  }
  #rflags(): number {
    const arithmetic = flagsOfHalves(
      this.#get(Reg.FLAG_RESULT),
      this.#get(Reg.FLAG_RESULT + 4),
      this.#get(Reg.FLAG_AUX),
      this.#get(Reg.FLAG_AUX + 4),
    );
    return (this.#get(Reg.RFLAGS) & ~Rflags.OSZAPC) | 2 | arithmetic;
  }

  #enter(rspLow: number, rspHigh: number): void {
    const cs = segment(SegmentIndex.CS);
    this.#set(cs, this.#selector | (Attributes.CODE64_KERNEL << 16));
    this.#set(cs + 4, FLAT_LIMIT);
    this.#set(cs + 8, 0);
    this.#set(cs + 12, 0);
    this.#set(Reg.GPR + 32, rspLow);
    this.#set(Reg.GPR + 36, rspHigh);
    this.#set(Reg.RIP, this.#ripLow);
    this.#set(Reg.RIP + 4, this.#ripHigh);
    const closes = this.#type === SystemType.INTERRUPT_GATE ? Rflags.IF : 0;
    this.#set(Reg.RFLAGS, this.#get(Reg.RFLAGS) & ~(Rflags.TF | Rflags.NT | Rflags.RF | Rflags.VM | closes));
    this.#set(Reg.INTERRUPT_SHADOW, 0);
    if (this.#get(Reg.CPL) === 0) return;
    this.#set(Reg.CPL, 0);
    const ss = segment(SegmentIndex.SS);
    for (let offset = 0; offset < 16; offset += 4) this.#set(ss + offset, 0);
    this.#mmu.enterKernel();
  }
}
