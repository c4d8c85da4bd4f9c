/* Fifth layer: x87 instructions are the host's. Its registers are loaded when a block comes to the first of them, and go back when native code is left (Native.X87). FOP, FIP and FDP
 * stay what they were: what they are for are exceptions that are not masked, and those are the interpreter's. @source docs/native.md; SDM vol. 1 ch. 8 */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg } from "../../isa/registers.ts";
import { Engine } from "../wasm/layout.ts";
import { Cc, Host, register } from "./assembler.ts";
import { Place, StubKind } from "./block-emitter.ts";
import { KernelInstructions } from "./kernel-instructions.ts";
import { Native, SCRATCH } from "./layout.ts";
import { field, TEMP3, W16 } from "./operands.ts";
import { Flags } from "./supported.ts";

/** FCW's masks: with one of them clear an operation may raise #MF. */
const MASKS = 0x3f;
const WRITES_MEMORY = /^f(?:st|i?stp?|isttp|bstp|nstcw|nstsw)/;

export abstract class X87Instructions extends KernelInstructions {
  /** Has the block made sure that the host has the guest's registers? */
  protected x87Checked = false;

  protected checkX87(): void {
    const { a } = this;
    this.giveUpFlags();
    a.arithmetic(7, field(Engine.X87_TRAP), 0, false);
    this.leaveIf(Cc.NZ);
    a.arithmetic(7, field(Native.X87), 1, false);
    const from = a.branchAhead(Cc.NZ);
    this.stub(StubKind.X87, from, this.info, a.at);
    this.x87Checked = true;
  }
  protected override writeLoadX87(info: number, back: number): void {
    const { a } = this;
    a.op(0x0fb7, SCRATCH, field(Reg.FCW));
    this.testMasks();
    const unmasked = a.branchAhead(Cc.NZ);
    a.call(this.routines.x87Load);
    a.jump(back);
    a.bind(unmasked);
    this.writeInterpret(info);
  }
  /** Are all exceptions masked in the control word in SCRATCH? Then ZF is set. */
  protected testMasks(): void {
    this.a.op(0xf7, 2, register(SCRATCH)); // not
    this.a.test(register(SCRATCH), MASKS);
  }

  /** @param at where it is in `bytes` */
  protected x87(d: Decoded, at: number): void {
    const { a, treatment } = this;
    if (!this.x87Checked) this.checkX87();
    const opcode = d.row.opcode;
    const modrm = this.bytes[at + d.length - 1];
    if (d.operandCount > 0 && d.operands[0].kind === "mem") this.x87Memory(d, opcode);
    else if (d.operandCount > 0 && d.operands[0].kind === "gpr") {
      a.raw(opcode, modrm); // fnstsw ax
      a.op(0x89, SCRATCH, register(Host.R10), W16);
    } else {
      if (treatment.flags === Flags.READS) this.bringFlags();
      a.raw(opcode, modrm);
    }
    if (treatment.flags === Flags.WRITES) this.flags = Place.HOST;
  }
  protected x87Memory(d: Decoded, opcode: number): void {
    const { a } = this;
    const { mnemonic } = this.treatment;
    const { width } = d.operands[0];
    const write = WRITES_MEMORY.test(mnemonic);
    const from = this.operandMemory(d, width, write);
    if (mnemonic === "fldcw") {
      a.op(0x0fb7, SCRATCH, from);
      a.store32(TEMP3, SCRATCH);
      this.testMasks();
      this.leaveIf(Cc.NZ);
      a.op(opcode, 5, TEMP3);
      return;
    }
    a.op(opcode, d.row.ext!, from);
    if (!write) this.mayLieInTwoPages();
  }
}
