/* The pass that keeps TLB entries in locals. An access through a base register (and an index) most often goes to the page of the last access through the same: then one compare
 * with a local replaces the probe. This file guesses where that is likely; a wrong guess costs a compare, never correctness, because no translation changes while a
 * region runs. @source docs/translator.md */
import type { Decoded } from "../../../isa/decoded.ts";
import type { RegionNode } from "./region.ts";
import type { Structure } from "./structure.ts";

const RSP = 4;
const RBP = 5;
/** Registers that move by no more than this between accesses are likely to stay in their page. */
const SMALL = 512;
/** Keys of a region that get locals. */
const MOST_KEYS = 24;
const NO_INDEX = 16;

const STACK = /^(?:push|pop|call|ret|pushf|popf)$/;

/** Names base and index of an address; −1: not one of these. */
export type PageKey = number;
export const stackKey: PageKey = RSP * 32 + NO_INDEX;
export const frameKey: PageKey = RBP * 32 + NO_INDEX;
/** Of the memory operand. */
export function operandKey(d: Decoded): PageKey {
  if (d.base < 0 || d.segment >= 4 || d.addressSize === 4 || d.ripRelative) return -1;
  return d.base * 32 + (d.index < 0 ? NO_INDEX : d.index);
}
export const usesStack = (d: Decoded): boolean => STACK.test(d.row.mnemonic);

export function hasMemory(d: Decoded): boolean {
  for (let i = 0; i < d.operandCount; i++) if (d.operands[i].kind === "mem" && d.operands[i].width > 0) return true;
  return false;
}
/** What the instruction adds to that register, its first operand; undefined: something that is not known, or another value. */
export function stepOf(d: Decoded, register: number): number | undefined {
  switch (d.row.mnemonic) {
    case "inc":
      return 1;
    case "dec":
      return -1;
    case "lea":
      return d.base === register && d.index < 0 ? d.disp : undefined;
    case "add":
      return d.operands[1].kind === "imm" ? d.imm32 : undefined;
    case "sub":
      return d.operands[1].kind === "imm" ? -d.imm32 : undefined;
    default:
      return undefined;
  }
}
/** Is the write of this instruction to that register a small step? */
export function isSmallStep(d: Decoded, register: number): boolean {
  if (register === RSP && STACK.test(d.row.mnemonic)) return true;
  return Math.abs(stepOf(d, register) ?? Infinity) <= SMALL;
}

/** Bits of registers that the instruction gives unrelated values. */
function jumps(d: Decoded): number {
  let mask = 0;
  for (let i = 0; i < d.operandCount; i++) {
    const { kind, reg } = d.operands[i];
    const access = d.row.semantics.access[i];
    if (kind === "gpr" && (access === "w" || access === "x") && !isSmallStep(d, reg)) mask |= 1 << reg;
  }
  return mask;
}

export class PageReuse {
  /** Keys that get locals, by number. */
  readonly keys = new Map<PageKey, number>();
  /** By node: bits of keys whose page is likely at hand when it begins. */
  readonly likely: Int32Array;

  constructor(nodes: readonly RegionNode[], structure: Structure, successors: (node: number) => readonly number[]) {
    const uses = new Map<PageKey, number>();
    for (const node of nodes) {
      for (const { d } of node.instructions)
        for (const key of PageReuse.#keysOf(d)) uses.set(key, (uses.get(key) ?? 0) + 1);
    }
    const sorted = [...uses].toSorted((a, b) => b[1] - a[1]).slice(0, MOST_KEYS);
    sorted.forEach(([key], i) => this.keys.set(key, i));
    this.likely = new Int32Array(nodes.length + 1);
    const effects = nodes.map((node) => this.#effect(node));
    for (let changed = true; changed;) {
      changed = false;
      for (let node = 1; node <= nodes.length; node++) {
        if (structure.order[node] < 0) continue;
        const out = (this.likely[node] & ~effects[node - 1].kills) | effects[node - 1].makes;
        for (const to of successors(node)) {
          if ((this.likely[to] | out) === this.likely[to]) continue;
          this.likely[to] |= out;
          changed = true;
        }
      }
    }
  }
  static #keysOf(d: Decoded): PageKey[] {
    const keys: PageKey[] = [];
    if (hasMemory(d)) keys.push(operandKey(d));
    if (usesStack(d)) keys.push(stackKey);
    if (d.row.mnemonic === "leave") keys.push(frameKey);
    return keys.filter((key) => key >= 0);
  }
  /** Bits of the keys that use one of the registers. */
  killedBy(registers: number): number {
    let bits = 0;
    for (const [key, i] of this.keys) {
      const index = key % 32;
      if (registers & (1 << (key >> 5)) || (index !== NO_INDEX && registers & (1 << index))) bits |= 1 << i;
    }
    return bits;
  }
  #effect(node: RegionNode): { kills: number; makes: number } {
    let [kills, makes] = [0, 0];
    for (const { d } of node.instructions) {
      for (const key of PageReuse.#keysOf(d)) {
        const i = this.keys.get(key);
        if (i !== undefined) makes |= 1 << i;
      }
      const killed = this.killedBy(jumps(d));
      kills |= killed;
      makes &= ~killed;
    }
    return { kills, makes };
  }
}
