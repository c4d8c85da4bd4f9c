/* The way of a secondary processor through 32-bit code. Linux's trampoline_start64 is entered in 64-bit mode, but its page tables can only be chosen with paging
 * off: it jumps to a 32-bit code segment, clears CR0.PG, loads CR4, CR3 and EFER, sets CR0.PG and jumps to 64-bit code. Those some thirty instructions
 * are stepped here, from the far jump that leaves 64-bit mode to the one that enters it again, as part of the former; nothing else of 32-bit mode exists.
 * Only vCPUs that the wakeup mailbox has started come here, with interrupts off and on the firmware's page tables. These map linear to physical, so memory
 * is read through them whether paging is on or off at that point; what the code loads into control registers takes effect when it has ended.
 * An instruction that is not here, or a fault, shuts the vCPU down: the trampoline's IDT is empty.
 * @source Linux arch/x86/realmode/rm/trampoline_64.S; SDM vol. 2 (the instructions), vol. 3A §9.8.5 */
import type { Cpu } from "../cpu.ts";
import { GuestFault } from "../cpu.ts";
import { Reg, SegmentIndex } from "../registers.ts";
import { Cr0 } from "./control-registers.ts";
import { type Descriptor, findDescriptor, markAccessed, requireLongCode } from "./descriptors.ts";
import { TripleFault } from "./exceptions.ts";
import { Efer, readMsr, writeMsr } from "./msr.ts";
import { setSegmentFrom } from "./segments.ts";

const MSR_EFER = 0xc000_0080;
/** Linux's path has 36 instructions at most: a loop has gone wrong. */
const MOST_STEPS = 1000;
const [RAX, RCX, RDX] = [0, 1, 2];
const LOW = 0xffff_ffffn;

/** 32-bit code (D = 1, L = 0), present. */
const isCode32 = (d: Descriptor): boolean => d.isCode && d.present && (d.high & 0x60_0000) === 0x40_0000;

class Stepper {
  readonly #cpu: Cpu;
  #eip: number;
  #zf = false;
  #cf = false;
  /** As the code has written them; they reach the register file in the end. */
  readonly #control = new Map<number, bigint>();
  #efer: bigint;
  /** The far jump back has been made. */
  done = false;

  constructor(cpu: Cpu, eip: number) {
    this.#cpu = cpu;
    this.#eip = eip;
    for (const [n, field] of [
      [0, Reg.CR0],
      [3, Reg.CR3],
      [4, Reg.CR4],
    ] as const)
      this.#control.set(n, cpu.regs.get64(field));
    this.#efer = cpu.regs.get64(Reg.EFER);
  }

  get eip(): number {
    return this.#eip;
  }
  refuse(why: string): never {
    throw new TripleFault(`a waking vCPU ${why} at ${this.#eip.toString(16)} in 32-bit code`);
  }

  // ——— operands ———
  #read(address: number, size: number): number {
    return Number(this.#cpu.read(BigInt(address >>> 0), size, "system"));
  }
  #fetch(size: number): number {
    const value = this.#read(this.#eip, size);
    this.#eip = (this.#eip + size) >>> 0;
    return value;
  }
  #fetchSigned8(): number {
    return (this.#fetch(1) << 24) >> 24;
  }
  #reg(n: number): number {
    return Number(this.#cpu.regs.gpr(n) & LOW);
  }
  #setReg(n: number, value: number): void {
    this.#cpu.regs.setGpr(n, BigInt(value >>> 0));
  }
  /** ModRM: a register, or a 32-bit address and nothing else. @returns reg field, and the operand's register or address */
  #modrm(): { reg: number; register: number | undefined; address: number } {
    const modrm = this.#fetch(1);
    const reg = (modrm >> 3) & 7;
    if (modrm >= 0xc0) return { reg, register: modrm & 7, address: 0 };
    if ((modrm & 0xc7) !== 0x05) this.refuse("uses an address form that its way to 64-bit mode does not have");
    return { reg, register: undefined, address: this.#fetch(4) };
  }
  #value(operand: { register: number | undefined; address: number }): number {
    return operand.register === undefined ? this.#read(operand.address, 4) : this.#reg(operand.register);
  }

  // ——— instructions ———
  step(): void {
    const start = this.#eip;
    const opcode = this.#fetch(1);
    if (opcode === 0x0f) return this.#twoByte(start);
    if (opcode >= 0xb8 && opcode <= 0xbf) return this.#setReg(opcode - 0xb8, this.#fetch(4));
    switch (opcode) {
      case 0x66:
        return this.#moveWord(start);
      case 0x72: // JB
        return this.#jump(this.#cf);
      case 0x73: // JNB
        return this.#jump(!this.#cf);
      case 0x74: // JZ
        return this.#jump(this.#zf);
      case 0x75: // JNZ
        return this.#jump(!this.#zf);
      case 0xeb:
        return this.#jump(true);
      case 0x3b: // CMP r32, r/m32
      case 0x8b: // MOV r32, r/m32
      case 0x8e: // MOV Sreg, r/m
      case 0x89: // MOV r/m32, r32
        return this.#withModrm(opcode, start);
      case 0x81: // group 1, imm32
      case 0x83: // group 1, imm8
        return this.#arithmetic(opcode, start);
      case 0xa1: // MOV EAX, moffs
        return this.#setReg(RAX, this.#read(this.#fetch(4), 4));
      case 0xea:
        return this.#jumpFar();
      default:
        this.#unknown(start);
    }
  }
  #unknown(start: number): never {
    this.#eip = start;
    this.refuse("meets an instruction that its way to 64-bit mode does not have");
  }
  /** MOV r16, imm16. */
  #moveWord(start: number): void {
    const opcode = this.#fetch(1);
    if (opcode < 0xb8 || opcode > 0xbf) this.#unknown(start);
    const n = opcode - 0xb8;
    this.#setReg(n, (this.#reg(n) & 0xffff_0000) | this.#fetch(2));
  }
  #jump(taken: boolean): void {
    const by = this.#fetchSigned8();
    if (taken) this.#eip = (this.#eip + by) >>> 0;
  }
  #withModrm(opcode: number, start: number): void {
    const operand = this.#modrm();
    const { reg, register } = operand;
    if (opcode === 0x8e) return this.#loadSegment(reg, this.#value(operand) & 0xffff, start);
    if (opcode === 0x89) {
      if (register === undefined) this.#unknown(start);
      return this.#setReg(register, this.#reg(reg));
    }
    const value = this.#value(operand);
    if (opcode === 0x8b) return this.#setReg(reg, value);
    this.#zf = this.#reg(reg) === value;
    this.#cf = this.#reg(reg) < value;
  }
  /** ADD, OR, AND, CMP of a register. */
  #arithmetic(opcode: number, start: number): void {
    const { reg, register } = this.#modrm();
    if (register === undefined) this.#unknown(start);
    const a = this.#reg(register);
    const b = (opcode === 0x81 ? this.#fetch(4) : this.#fetchSigned8()) >>> 0;
    const results: Record<number, number> = { 0: a + b, 1: (a | b) >>> 0, 4: (a & b) >>> 0, 7: a - b };
    const result = results[reg];
    if (result === undefined) this.#unknown(start);
    this.#zf = result >>> 0 === 0;
    this.#cf = result !== result >>> 0;
    if (reg !== 7) this.#setReg(register, result);
  }
  #loadSegment(index: number, selector: number, start: number): void {
    if (index === SegmentIndex.CS || index > SegmentIndex.GS) this.#unknown(start);
    const descriptor = (selector & 0xfffc) === 0 ? undefined : findDescriptor(this.#cpu, selector);
    if (descriptor !== undefined && (!descriptor.present || !descriptor.isWritable))
      this.refuse("loads a segment that is none of data");
    if (descriptor) markAccessed(this.#cpu, descriptor);
    setSegmentFrom(this.#cpu, index, selector, descriptor);
  }

  #twoByte(start: number): void {
    const opcode = this.#fetch(1);
    if (opcode === 0x20 || opcode === 0x22) return this.#moveControl(opcode === 0x22, start);
    if (opcode === 0x30 || opcode === 0x32) return this.#msr(opcode === 0x30);
    if (opcode !== 0xba) this.#unknown(start);
    // BT, BTS r/m32, imm8; the latter on registers only
    const operand = this.#modrm();
    const value = this.#value(operand);
    const bit = 1 << (this.#fetch(1) & 31);
    this.#cf = (value & bit) !== 0;
    if (operand.reg === 4) return;
    if (operand.reg !== 5 || operand.register === undefined) this.#unknown(start);
    this.#setReg(operand.register, value | bit);
  }
  #moveControl(write: boolean, start: number): void {
    const { reg, register } = this.#modrm();
    const value = this.#control.get(reg);
    if (value === undefined || register === undefined) this.#unknown(start);
    if (write) this.#control.set(reg, BigInt(this.#reg(register)));
    else this.#setReg(register, Number(value & LOW));
  }
  #msr(write: boolean): void {
    const index = this.#reg(RCX);
    const value = (BigInt(this.#reg(RDX)) << 32n) | BigInt(this.#reg(RAX));
    if (write) {
      if (index === MSR_EFER) this.#efer = value;
      else if (!writeMsr(this.#cpu, index, value)) this.refuse("writes an MSR that there is not");
      return;
    }
    const paged = (this.#control.get(0)! & BigInt(Cr0.PG >>> 0)) !== 0n;
    const read = index === MSR_EFER ? (paged ? this.#efer : this.#efer & ~BigInt(Efer.LMA)) : readMsr(this.#cpu, index);
    if (read === undefined) this.refuse("reads an MSR that there is not");
    this.#setReg(RAX, Number(read & LOW));
    this.#setReg(RDX, Number(read >> 32n));
  }

  /** To 32-bit code on, to 64-bit code out. */
  #jumpFar(): void {
    const eip = this.#fetch(4);
    const selector = this.#fetch(2);
    const code = (selector & 0xfffc) === 0 ? undefined : findDescriptor(this.#cpu, selector);
    if (code === undefined) this.refuse("jumps to a code segment that there is not");
    this.#eip = eip;
    if (isCode32(code)) return;
    this.#control.set(0, this.#control.get(0)! | BigInt(Cr0.ET));
    this.#enterLongMode(selector);
  }
  #enterLongMode(selector: number): void {
    const { regs } = this.#cpu;
    const cr0 = this.#control.get(0)!;
    if ((cr0 & BigInt(Cr0.PG >>> 0)) === 0n || (this.#efer & BigInt(Efer.LME)) === 0n)
      this.refuse("jumps to 64-bit code without paging or EFER.LME");
    regs.set64(Reg.CR0, cr0);
    regs.set64(Reg.CR3, this.#control.get(3)!);
    regs.set64(Reg.CR4, this.#control.get(4)!);
    regs.set64(Reg.EFER, this.#efer | BigInt(Efer.LMA));
    this.#cpu.modeChanged();
    this.#cpu.flushTlb({ kind: "all" });
    // Again, now by the new page tables.
    const code = findDescriptor(this.#cpu, selector)!;
    requireLongCode(code, selector);
    markAccessed(this.#cpu, code);
    regs.setSegment(SegmentIndex.CS, code.segment(selector & 0xfffc));
    this.#cpu.setRip(BigInt(this.#eip));
    this.done = true;
  }
}

/** A far jump of a waking vCPU. @returns false if it goes to no 32-bit code: an ordinary one */
export function passThrough32(cpu: Cpu, selector: number, offset: bigint): boolean {
  const { regs } = cpu;
  const descriptor = (selector & 0xfffc) === 0 ? undefined : findDescriptor(cpu, selector);
  if (descriptor === undefined || !isCode32(descriptor)) return false;
  const stepper = new Stepper(cpu, Number(offset & LOW));
  if (regs.get64(Reg.CR3) !== regs.get64(Reg.WAKING))
    stepper.refuse("has left the firmware's page tables before it is");
  try {
    for (let steps = 0; !stepper.done; steps++) {
      if (steps === MOST_STEPS) stepper.refuse("does not come back to 64-bit mode: it is");
      stepper.step();
    }
  } catch (error) {
    if (error instanceof GuestFault) stepper.refuse("faults");
    throw error;
  }
  regs.set64(Reg.WAKING, 0n);
  return true;
}
