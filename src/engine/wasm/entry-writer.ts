/* Writes what the interpreter has to know of an instruction into its decoded entry (layout.ts). */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg, Slot } from "../../isa/registers.ts";
import { AddressForm } from "./emit-handler.ts";
import { registerOffset } from "./handlers.ts";
import { Entry, ENTRY_STACK } from "./layout.ts";

const PAGE = 4096;

export class EntryWriter {
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;

  constructor(stateBuffer: ArrayBufferLike) {
    this.#words = new Int32Array(stateBuffer);
    this.#halves = new Uint16Array(stateBuffer);
    this.#bytes = new Uint8Array(stateBuffer);
  }

  /** @param entry with handler, offset and length  @param form AddressForm  @param offset of the instruction in its page */
  write(entry: number, d: Decoded, form: number, offset: number): void {
    const half = entry >> 1;
    this.#bytes[entry + Entry.SCALE] = d.scale;
    // RSP or RBP is the base, or there is no memory operand but what CALL, PUSH and their like imply
    if (form === AddressForm.NONE || (d.segment < 0 && (d.base === 4 || d.base === 5)))
      this.#bytes[entry + Entry.FLAGS] = ENTRY_STACK;
    for (let i = 0; i < d.operandCount; i++) {
      const operand = d.operands[i];
      if (operand.source === "reg") this.#halves[half + Entry.REG_A / 2] = registerOffset(operand);
      else if (operand.source === "rm" || operand.source === "opcode")
        this.#halves[half + Entry.REG_B / 2] = registerOffset(operand);
      else if (operand.source === "vvvv") this.#halves[half + Entry.REG_C / 2] = registerOffset(operand);
    }
    if (d.operandCount > 0 && d.operands[0].kind === "rel") this.#writeTarget(entry, d, offset + d.length);
    else {
      this.#writeAddress(entry, d, offset + d.length, form);
      this.#writeImmediate(entry, d);
    }
  }
  /** Relative jumps: the target from the start of the page. */
  #writeTarget(entry: number, d: Decoded, next: number): void {
    const target = next + d.imm32;
    const word = (entry + Entry.IMM) >> 2;
    this.#words[word] = target;
    this.#words[word + 1] = target < 0 ? -1 : 0;
    if (target > 0x7fffffff) this.#words[word + 1] = 0;
    if (target < -0x80000000) this.#words[word + 1] = -1;
  }
  #writeImmediate(entry: number, d: Decoded): void {
    const word = (entry + Entry.IMM) >> 2;
    if (d.imm === 0n && d.imm32 === 0) {
      this.#words[word] = 0;
      this.#words[word + 1] = 0;
    } else if (BigInt(d.imm32) === d.imm) {
      this.#words[word] = d.imm32;
      this.#words[word + 1] = d.imm32 >> 31;
    } else {
      this.#words[word] = Number(BigInt.asIntN(32, d.imm));
      this.#words[word + 1] = Number(BigInt.asIntN(32, d.imm >> 32n));
    }
    // ENTER's second immediate rides in the upper half
    if (d.imm2 !== 0) this.#words[word + 1] = d.imm2;
  }
  #writeAddress(entry: number, d: Decoded, next: number, form: number): void {
    const half = entry >> 1;
    const slot = (n: number): number => Reg.GPR + 8 * n;
    let disp = d.disp;
    let base = d.base >= 0 ? slot(d.base) : slot(Slot.ZERO);
    let index = d.index >= 0 ? slot(d.index) : slot(Slot.ZERO);
    if (form === AddressForm.NONE) base = slot(4); // implicit operands are the stack's
    if (d.ripRelative) {
      base = slot(Slot.PAGE_VA);
      disp += next;
      if (disp > 0x7fffffff) {
        disp -= PAGE;
        index = slot(Slot.C4096);
      }
    }
    this.#halves[half + Entry.BASE / 2] = base;
    this.#halves[half + Entry.INDEX / 2] = index;
    this.#halves[half + Entry.SEGMENT / 2] = slot(
      d.segment === 4 ? Slot.FS_BASE : d.segment === 5 ? Slot.GS_BASE : Slot.ZERO,
    );
    this.#words[(entry + Entry.DISP) >> 2] = disp;
  }
}
