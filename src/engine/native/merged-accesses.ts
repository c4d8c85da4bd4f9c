/* Which accesses of a block are made sure of together: those that go by the same register, a known distance apart. The first one makes sure that all bytes that they touch
 * lie in one page that is in the TLB, and keeps what the others need. A write is not covered by a read: the page may still have to be marked for it.
 * @source docs/native.md "Accesses together" */
import type { Decoded } from "../../isa/decoded.ts";
import { HOST_OF, IN_MEMORY } from "./layout.ts";
import { type Treatment, Way } from "./supported.ts";

/** So many groups a block may have (Native.ADDENDS). */
const MOST_GROUPS = 8;
/** Further apart, they are likely to lie in two pages. */
const MOST_BYTES = 256;
/** Sums of what is added stay small. */
const FARTHEST = 4096;
const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];

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
  group: number;
  /** Of the FIRST: where the bytes of the group begin, from the register as it is then, and how many they are. */
  low: number;
  bytes: number;
}

interface Group {
  first: number;
  write: boolean;
  /** From what the register was when something else was last written to it: [low, high). */
  low: number;
  high: number;
  /** What had been added to the register before the first access. */
  delta: number;
}

/** Operands in memory that go by a host register alone. */
function isPlain(d: Decoded): boolean {
  return d.base >= 0 && HOST_OF[d.base] !== IN_MEMORY && d.index < 0 && d.segment < 4 && !d.ripRelative;
}

export class MergedAccesses {
  /** By instruction. */
  readonly merged: Merged[] = [];
  /** By register: what has been added since it was last written otherwise. */
  readonly #deltas = new Int32Array(16);
  /** The latest group by register, for reads and for writes. */
  readonly #open: (Group | undefined)[] = Array.from({ length: 16 });
  #groups = 0;
  /** Has the block accesses that are covered? */
  any = false;

  begin(): void {
    this.#deltas.fill(0);
    this.#open.fill(undefined);
    this.#groups = 0;
    this.any = false;
  }
  /** The block's instructions, one after the other. */
  add(index: number, d: Decoded, t: Treatment): void {
    const merged = (this.merged[index] ??= { role: 0, group: 0, low: 0, bytes: 0 });
    merged.role = Role.NONE;
    const { mnemonic } = t;
    if (t.way === Way.SAME) this.#same(index, d, t);
    else if (t.way === Way.OWN && (!t.x87 || (d.operandCount > 0 && d.operands[0].kind === "gpr")))
      this.#own(index, d, mnemonic);
  }
  #same(index: number, d: Decoded, t: Treatment): void {
    let memory = -1;
    let high = false;
    for (let i = 0; i < d.operandCount; i++) {
      const operand = d.operands[i];
      if (operand.kind === "mem") memory = i;
      else if (operand.highByte) high = true;
    }
    if (memory >= 0 && t.mnemonic !== "lea" && isPlain(d)) {
      const bits = t.bits && d.operands[1].kind === "gpr";
      if (t.align === 0 && !d.lock && !t.exchange && !high && !bits)
        this.#access(index, d.base, d.disp, d.operands[memory].width, t.access[memory] !== "r");
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
    if (mnemonic === "lea" && isPlain(d) && d.base === to.reg) this.#deltas[to.reg] += d.disp;
    else if (by.kind === "imm" && mnemonic === "add") this.#deltas[to.reg] += d.imm32;
    else if (by.kind === "imm" && mnemonic === "sub") this.#deltas[to.reg] -= d.imm32;
    else return false;
    return true;
  }
  #own(index: number, d: Decoded, mnemonic: string): void {
    const inMemory = d.operandCount > 0 && d.operands[0].kind === "mem";
    if (mnemonic === "push" && !inMemory) {
      this.#access(index, RSP, -8, 8, true);
      this.#deltas[RSP] -= 8;
    } else if (mnemonic === "pop") {
      this.#access(index, RSP, 0, 8, false);
      this.#deltas[RSP] += 8;
      this.#lose(d.operands[0].reg);
    } else if (mnemonic === "ret") this.#access(index, RSP, 0, 8, false);
    else if (mnemonic === "call" && d.operands[0].kind === "rel") this.#access(index, RSP, -8, 8, true);
    else if (mnemonic === "push") this.#deltas[RSP] -= 8;
    else if (mnemonic === "stac" || mnemonic === "clac") for (let n = 0; n < 16; n++) this.#lose(n);
    else if (d.row.cc === undefined) {
      for (const n of [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI]) this.#lose(n);
      for (let i = 0; i < d.operandCount; i++) if (d.operands[i].kind === "gpr") this.#lose(d.operands[i].reg);
    }
  }
  #lose(n: number): void {
    this.#deltas[n] = 0;
    this.#open[n] = undefined;
  }
  #access(index: number, n: number, disp: number, size: number, write: boolean): void {
    const merged = this.merged[index];
    const low = disp + this.#deltas[n];
    const high = low + size;
    const group = this.#open[n];
    const fits =
      group !== undefined &&
      (group.write || !write) &&
      Math.max(group.high, high) - Math.min(group.low, low) <= MOST_BYTES;
    if (!fits) {
      if (this.#groups === MOST_GROUPS) return;
      this.#open[n] = { first: index, write, low, high, delta: this.#deltas[n] };
      merged.group = this.#groups++;
      return;
    }
    group.low = Math.min(group.low, low);
    group.high = Math.max(group.high, high);
    const first = this.merged[group.first];
    first.role = Role.FIRST;
    first.low = group.low - group.delta;
    first.bytes = group.high - group.low;
    merged.role = Role.COVERED;
    merged.group = first.group;
    this.any = true;
  }
}
