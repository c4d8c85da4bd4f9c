/* Which accesses of a block are made sure of together: those that go by the same registers, a known distance apart. The first one makes sure that all bytes that they touch
 * lie in one page that is in the TLB, and keeps what the others need. If one of them writes, the page has to be one that may be written to without further ado.
 * @source docs/native.md "Accesses together" */
import type { Decoded } from "../../isa/decoded.ts";
import { HOST_OF, IN_MEMORY } from "./layout.ts";
import { type Treatment, Way } from "./supported.ts";

/** So many groups a block may have (Native.ADDENDS). */
const MOST_GROUPS = 8;
/** Further apart, they are likely to lie in two pages. */
const MOST_BYTES = 256;
/** Sums of what is added stay small, */
const FARTHEST = 4096;
/** … and where a group begins is a displacement: it must not wrap. */
const FARTHEST_DISP = 2 ** 30;
const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
/** As a base: the page of the code. */
const RIP = 16;
const BY_RIP: Registers = { base: RIP, index: -1, scale: 0 };
const BY_RSP: Registers = { base: RSP, index: -1, scale: 0 };

export const Role = {
  /** It is alone. */
  NONE: 0,
  /** It makes sure of the others. */
  FIRST: 1,
  COVERED: 2,
} as const;

/** An access, for one that is alone or covered. */
export interface Merged {
  /** Role. */
  role: number;
  /** Where what the others need is kept. */
  group: number;
  /** Of the FIRST: where the bytes of the group begin, from the register as it is then, or from the page of the code; and how many they are. */
  low: number;
  bytes: number;
  /** … does another of them write, and not this one? */
  others: boolean;
}

/** What an address goes by: numbers of registers, RIP as base, −1 as index for none. */
interface Registers {
  readonly base: number;
  readonly index: number;
  readonly scale: number;
}
interface Group extends Registers {
  first: number;
  /** −1: it has one access so far. */
  number: number;
  write: boolean;
  open: boolean;
  /** From what the register was when something else was last written to it: [low, high). */
  low: number;
  high: number;
  /** What had been added to the register before the first access. */
  delta: number;
}

/** Does the operand in memory go by a host register alone? */
export function isPlain({ base, index, segment, ripRelative }: Decoded): boolean {
  return base >= 0 && HOST_OF[base] !== IN_MEMORY && index < 0 && segment < 4 && !ripRelative;
}
function canMerge({ base, index, segment, ripRelative }: Decoded): boolean {
  return (base >= 0 || ripRelative) && (index < 0 || HOST_OF[index] !== IN_MEMORY) && segment < 4;
}

export class MergedAccesses {
  /** By instruction. */
  readonly merged: Merged[] = [];
  /** By register: what has been added since it was last written otherwise. */
  readonly #deltas = new Int32Array(RIP + 1);
  readonly #groups: Group[] = [];
  /** Groups of several. */
  #count = 0;
  /** Has the block accesses that are covered? */
  any = false;

  begin(): void {
    this.#deltas.fill(0);
    this.#groups.length = 0;
    this.#count = 0;
    this.any = false;
  }
  /** The block's instructions, one after the other. @param next offset in the page behind it */
  add(index: number, d: Decoded, t: Treatment, next: number): void {
    const merged = (this.merged[index] ??= { role: 0, group: 0, low: 0, bytes: 0, others: false });
    merged.role = Role.NONE;
    merged.others = false;
    const { mnemonic } = t;
    if (t.way === Way.SAME) this.#same(index, d, t, next);
    else if (t.way === Way.OWN && (!t.x87 || (d.operandCount > 0 && d.operands[0].kind === "gpr")))
      this.#own(index, d, mnemonic);
  }
  #same(index: number, d: Decoded, t: Treatment, next: number): void {
    let memory = -1;
    let high = false;
    for (let i = 0; i < d.operandCount; i++) {
      const operand = d.operands[i];
      if (operand.kind === "mem") memory = i;
      else if (operand.highByte) high = true;
    }
    if (memory >= 0 && t.mnemonic !== "lea" && canMerge(d)) {
      const bits = t.bits && d.operands[1].kind === "gpr";
      const registers = d.ripRelative ? BY_RIP : d;
      const disp = d.ripRelative ? next + d.disp : d.disp;
      if (t.align === 0 && !d.lock && !t.exchange && !high && !bits)
        this.#access(index, registers, disp, d.operands[memory].width, t.access[memory] !== "r");
    }
    if (this.#adds(d, t)) return;
    for (let i = 0; i < d.operandCount; i++)
      if (d.operands[i].kind === "gpr" && t.access[i] !== "r") this.#lose(d.operands[i].reg);
    if (t.mnemonic.startsWith("pcmpi")) this.#lose(RCX);
  }
  /** A register that is a known distance from what it was. */
  #adds(d: Decoded, { mnemonic }: Treatment): boolean {
    const [to, by] = d.operands;
    if (d.size !== 8 || d.operandCount !== 2 || to.kind !== "gpr") return false;
    if (Math.abs(mnemonic === "lea" ? d.disp : d.imm32) > FARTHEST) return false;
    if (HOST_OF[to.reg] === IN_MEMORY) return false;
    if (mnemonic === "lea" && isPlain(d) && d.base === to.reg) this.#move(to.reg, d.disp);
    else if (by.kind === "imm" && mnemonic === "add") this.#move(to.reg, d.imm32);
    else if (by.kind === "imm" && mnemonic === "sub") this.#move(to.reg, -d.imm32);
    else return false;
    return true;
  }
  #move(n: number, by: number): void {
    this.#deltas[n] += by;
    for (const group of this.#groups)
      if (group.index === n || (group.index >= 0 && group.base === n)) group.open = false;
  }
  #own(index: number, d: Decoded, mnemonic: string): void {
    const inMemory = d.operandCount > 0 && d.operands[0].kind === "mem";
    if (mnemonic === "push" && !inMemory) {
      this.#access(index, BY_RSP, -8, 8, true);
      this.#move(RSP, -8);
    } else if (mnemonic === "pop") {
      this.#access(index, BY_RSP, 0, 8, false);
      this.#move(RSP, 8);
      this.#lose(d.operands[0].reg);
    } else if (mnemonic === "ret") this.#access(index, BY_RSP, 0, 8, false);
    else if (mnemonic === "call" && d.operands[0].kind === "rel") this.#access(index, BY_RSP, -8, 8, true);
    else if (mnemonic === "push") this.#move(RSP, -8);
    else if (mnemonic === "stac" || mnemonic === "clac") for (const group of this.#groups) group.open = false;
    else if (d.row.cc === undefined) {
      for (const n of [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI]) this.#lose(n);
      for (let i = 0; i < d.operandCount; i++) if (d.operands[i].kind === "gpr") this.#lose(d.operands[i].reg);
    }
  }
  /** The latest group by these registers, if they are what they were. */
  #find(base: number, index: number, scale: number): Group | undefined {
    for (let i = this.#groups.length - 1; i >= 0; i--) {
      const each = this.#groups[i];
      if (each.open && each.base === base && each.index === index && (index < 0 || each.scale === scale)) return each;
    }
    return undefined;
  }
  #lose(n: number): void {
    this.#deltas[n] = 0;
    for (const group of this.#groups) if (group.base === n || group.index === n) group.open = false;
  }
  #access(at: number, { base, index, scale }: Registers, disp: number, size: number, write: boolean): void {
    if (Math.abs(disp) > FARTHEST_DISP) return;
    const merged = this.merged[at];
    const low = disp + this.#deltas[base];
    const high = low + size;
    const group = this.#find(base, index, scale);
    const fits = group !== undefined && Math.max(group.high, high) - Math.min(group.low, low) <= MOST_BYTES;
    if (!fits) {
      if (group !== undefined) group.open = false;
      const delta = this.#deltas[base];
      this.#groups.push({ base, index, scale, first: at, number: -1, write, open: true, low, high, delta });
      return;
    }
    if (group.number < 0) {
      if (this.#count === MOST_GROUPS) return;
      group.number = this.#count++;
    }
    group.low = Math.min(group.low, low);
    group.high = Math.max(group.high, high);
    const first = this.merged[group.first];
    first.role = Role.FIRST;
    first.group = merged.group = group.number;
    first.low = group.low - group.delta;
    first.bytes = group.high - group.low;
    first.others ||= write && !group.write;
    merged.role = Role.COVERED;
    this.any = true;
  }
}
