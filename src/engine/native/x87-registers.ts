/* The x87 registers on their way between the register file and the host's. @source docs/native.md; SDM vol. 1 §8.1.10 */
import { Reg } from "../../isa/registers.ts";
import { type Assembler, Cc, Host, memory, register, type RegisterOrMemory } from "./assembler.ts";
import { Native, SCRATCH } from "./layout.ts";
import { field, W16 } from "./operands.ts";

const { RAX, RCX, RDX } = Host;
const X87_REGISTERS = 8;
/** Of what FNSAVE writes: control, status and tag word, and the registers, 10 bytes each, the top of the stack first. */
const Image = { CONTROL: 0, STATUS: 4, TAGS: 8, REGISTERS: 28 } as const;
const TOP = 0x3800;
const image = (at: number): RegisterOrMemory => field(Native.X87_IMAGE + at);
const word = (a: Assembler, to: number, from: number): void => {
  a.op(0x0fb7, SCRATCH, field(from));
  a.store32(image(to), SCRATCH);
};
/** Loads the host's x87 registers. Uses SCRATCH. @returns offset */
export function writeX87Load(a: Assembler): number {
  const start = a.at;
  word(a, Image.CONTROL, Reg.FCW);
  word(a, Image.TAGS, Reg.FTW);
  // with register 0 at the top they are in the order of their numbers
  word(a, Image.STATUS, Reg.FSW);
  a.arithmetic(4, image(Image.STATUS), ~TOP, false);
  for (let at = Image.TAGS + 4; at < Image.REGISTERS; at += 4) a.moveImmediate32(image(at), 0);
  for (let n = 0; n < X87_REGISTERS; n++) {
    a.load64(SCRATCH, field(Reg.ST + 16 * n));
    a.store64(image(Image.REGISTERS + 10 * n), SCRATCH);
    a.load32(SCRATCH, field(Reg.ST + 16 * n + 8));
    a.op(0x89, SCRATCH, image(Image.REGISTERS + 10 * n + 8), W16);
  }
  a.op(0xdd, 4, image(0)); // frstor
  word(a, Image.STATUS, Reg.FSW);
  a.op(0xd9, 4, image(0)); // fldenv
  a.moveImmediate32(field(Native.X87), 1);
  a.byte(0xc3);
  return start;
}
/** Brings them back, if they are there. Uses RCX, RDX. */
export function writeX87Save(a: Assembler): void {
  a.arithmetic(7, field(Native.X87), 1, false);
  const none = a.branchAhead(Cc.NZ);
  a.byte(0x50); // push rax
  a.moveImmediate32(field(Native.X87), 2);
  a.op(0xdd, 6, image(0)); // fnsave
  for (const [from, to] of [
    [Image.CONTROL, Reg.FCW],
    [Image.TAGS, Reg.FTW],
    [Image.STATUS, Reg.FSW],
  ]) {
    a.load32(RCX, image(from));
    a.op(0x89, RCX, field(to), W16);
  }
  a.shift(5, register(RCX), 11);
  for (let n = 0; n < X87_REGISTERS; n++) {
    a.lea(RDX, memory(RCX, n));
    a.arithmetic(4, register(RDX), X87_REGISTERS - 1, false);
    a.shift(4, register(RDX), 4);
    const to = (at: number): RegisterOrMemory => field(Reg.ST + at, RDX);
    a.load64(RAX, image(Image.REGISTERS + 10 * n));
    a.store64(to(0), RAX);
    a.op(0x0fb7, RAX, image(Image.REGISTERS + 10 * n + 8));
    a.store64(to(8), RAX);
  }
  a.byte(0x58);
  a.bind(none);
}
