/* The pass that checks a stretch of the stack once. RSP moves by known steps through most code, inlined calls included, so that many accesses lie at known distances from each other:
 * the first of them checks that all of them lie in one page, and the others check nothing. Where the stretch does cross a page the check leaves for the interpreter; a region to
 * which that happens often is translated anew without this pass (regions.ts).
 *
 * An **epoch** is all code in which RSP is at a known distance from one value: from a node that can be entered, from a join of different distances, or from an instruction that
 * gives RSP an unrelated value. Knows nothing of wasm. @source docs/translator.md "Passes" */
import type { Decoded } from "../../../isa/decoded.ts";
import { hasMemory, operandKey, stackKey, stepOf } from "./page-reuse.ts";
import type { RegionNode } from "./region.ts";
import type { Structure } from "./structure.ts";

const RSP = 4;
/** Accesses farther than this from where RSP was when the epoch began are no part of its stretch, in bytes. */
const REACH = 512;
/** RSP is no operand of these, and goes somewhere else. */
const MOVES_RSP = /^(?:leave|enter|iret|syscall|sysret)/;

/** Bytes relative to RSP as it is before the instruction. */
export interface Stretch {
  readonly low: number;
  /** Behind its last byte. */
  readonly high: number;
}
/** What an instruction does with the stack. */
export interface StackEffect {
  /** What it may read or write there; undefined: nothing. */
  readonly stretch: Stretch | undefined;
  /** How RSP changes; undefined: in a way that is not known. */
  readonly step: number | undefined;
}
/** For an instruction whose accesses are all in its epoch's stretch. */
export interface StackUse {
  readonly own: Stretch;
  /** The epoch's, to be checked before; undefined: it has been. */
  readonly check: Stretch | undefined;
}

function explicitStep(d: Decoded): number | undefined {
  for (let i = 0; i < d.operandCount; i++) {
    const { kind, reg, highByte, width } = d.operands[i];
    const access = d.row.semantics.access[i];
    if (kind !== "gpr" || reg !== RSP || highByte || (access !== "w" && access !== "x")) continue;
    const isWhole = width === 8 && (d.addressSize === 8 || d.row.mnemonic !== "lea");
    return isWhole && i === 0 ? stepOf(d, RSP) : undefined;
  }
  return 0;
}

/** @source SDM vol. 2 of each instruction */
export function stackEffect(d: Decoded): StackEffect {
  const name = d.row.mnemonic;
  const size = d.size === 2 ? 2 : 8;
  let [low, high] = [Infinity, -Infinity];
  const touch = (from: number, to: number): void => {
    low = Math.min(low, from);
    high = Math.max(high, to);
  };
  if (hasMemory(d) && operandKey(d) === stackKey) {
    const widths = d.operands.slice(0, d.operandCount).map(({ kind, width }) => (kind === "mem" ? width : 0));
    touch(d.disp, d.disp + Math.max(...widths));
  }
  let step = explicitStep(d);
  if (name === "push" || name === "pushf" || name === "call") {
    touch(-size, 0);
    step = -size;
  } else if (name === "pop" || name === "popf") {
    touch(0, size);
    if (step !== undefined) step = size;
  } else if (name === "ret") {
    touch(0, size);
    step = size + (d.operandCount > 0 ? d.imm32 & 0xffff : 0);
  } else if (MOVES_RSP.test(name)) step = undefined;
  return { stretch: low < high ? { low, high } : undefined, step };
}

/** Where RSP is: at a distance from where it was when the epoch began. */
interface Place {
  readonly epoch: number;
  readonly distance: number;
}
/** Epochs are named by the node that begins with them, or by node and instruction. */
const epochAt = (node: number, instruction: number): number => node * 1024 + instruction + 1;

export class StackSpans {
  readonly #effects: StackEffect[][];
  /** By node and instruction: after it no stretch is checked. */
  readonly #ends: boolean[][];
  readonly #predecessors: number[][];
  /** Nodes in reverse postorder, from 1 on. */
  readonly #sequence: readonly number[];
  /** By node, where it begins. */
  readonly #begins: (Place | undefined)[];
  readonly #stretches = new Map<number, { low: number; high: number }>();
  /** By node: the epoch's stretch was checked before it begins. */
  readonly #checked: boolean[];

  /** @param targets nodes that are entered from outside, or through the dispatcher  @param forgets does the instruction make pages that are at hand invalid? */
  constructor(
    nodes: readonly RegionNode[],
    structure: Structure,
    successors: (node: number) => readonly number[],
    targets: readonly number[],
    forgets: (d: Decoded) => boolean,
  ) {
    this.#effects = nodes.map((node) => node.instructions.map(({ d }) => stackEffect(d)));
    this.#ends = nodes.map((node, n) =>
      node.instructions.map(({ d }, i) => this.#effects[n][i].step === undefined || forgets(d)),
    );
    this.#sequence = nodes
      .map((_, i) => i + 1)
      .filter((node) => structure.order[node] >= 0)
      .toSorted((a, b) => structure.order[a] - structure.order[b]);
    this.#predecessors = Array.from({ length: nodes.length + 1 }, () => []);
    for (const node of this.#sequence) for (const to of successors(node)) this.#predecessors[to].push(node);
    this.#begins = Array.from({ length: nodes.length + 1 }, () => undefined);
    this.#findEpochs(new Set(targets));
    this.#findStretches();
    this.#checked = Array.from({ length: nodes.length + 1 }, () => true);
    this.#findChecked();
  }

  /** What the instructions of a node do with the stack; undefined for one that does nothing there, or that has to look for itself. */
  of(node: number): (StackUse | undefined)[] {
    const uses: (StackUse | undefined)[] = [];
    this.#follow(node, (place, own, checked, i) => {
      const { low, high } = this.#stretches.get(place.epoch)!;
      uses[i] = { own, check: checked ? undefined : { low: low - place.distance, high: high - place.distance } };
    });
    return uses;
  }
  /** @param use of what lies in the stretch, and whether that was checked before  @returns is it checked at the node's end? */
  #follow(node: number, use: (place: Place, own: Stretch, checked: boolean, i: number) => void): boolean {
    let checked = this.#checked[node];
    this.#walk(node, (place, effect, i) => {
      const own = this.#inStretch(place, effect);
      if (own !== undefined) {
        use(place, own, checked, i);
        checked = true;
      }
      if (this.#ends[node - 1][i]) checked = false;
    });
    return checked;
  }

  /** @returns where the node ends */
  #walk(node: number, see: (place: Place, effect: StackEffect, i: number) => void): Place {
    let place = this.#begins[node]!;
    this.#effects[node - 1].forEach((effect, i) => {
      see(place, effect, i);
      const { step } = effect;
      place =
        step === undefined
          ? { epoch: epochAt(node, i), distance: 0 }
          : { epoch: place.epoch, distance: place.distance + step };
    });
    return place;
  }
  #inStretch({ distance }: Place, { stretch }: StackEffect): Stretch | undefined {
    if (stretch === undefined) return undefined;
    return distance + stretch.low >= -REACH && distance + stretch.high <= REACH ? stretch : undefined;
  }

  /** Joins of equal places are no new epoch; back edges are believed until they turn out to differ. */
  #findEpochs(targets: ReadonlySet<number>): void {
    const ends: (Place | undefined)[] = [];
    for (let changed = true; changed;) {
      changed = false;
      for (const node of this.#sequence) {
        const own = { epoch: epochAt(node, -1), distance: 0 };
        const known = this.#predecessors[node].map((from) => ends[from]).filter((end) => end !== undefined);
        const first = known[0];
        const same =
          first !== undefined &&
          !targets.has(node) &&
          this.#begins[node]?.epoch !== own.epoch &&
          known.every(({ epoch, distance }) => epoch === first.epoch && distance === first.distance);
        const begin = same ? first : own;
        const before = this.#begins[node];
        if (before?.epoch === begin.epoch && before.distance === begin.distance) continue;
        this.#begins[node] = begin;
        ends[node] = this.#walk(node, () => {});
        changed = true;
      }
    }
  }
  #findStretches(): void {
    for (const node of this.#sequence) {
      this.#walk(node, (place, effect) => {
        const own = this.#inStretch(place, effect);
        if (own === undefined) return;
        const all = this.#stretches.get(place.epoch) ?? { low: Infinity, high: -Infinity };
        all.low = Math.min(all.low, place.distance + own.low);
        all.high = Math.max(all.high, place.distance + own.high);
        this.#stretches.set(place.epoch, all);
      });
    }
  }
  #findChecked(): void {
    const ends: boolean[] = [];
    for (const node of this.#sequence) ends[node] = true;
    for (let changed = true; changed;) {
      changed = false;
      for (const node of this.#sequence) {
        // where an epoch begins nothing is checked; that is so at all targets
        const fresh = this.#begins[node]!.epoch === epochAt(node, -1);
        const begin = !fresh && this.#predecessors[node].every((from) => ends[from]);
        if (this.#checked[node] !== begin) changed = true;
        this.#checked[node] = begin;
        const end = this.#follow(node, () => {});
        if (ends[node] !== end) changed = true;
        ends[node] = end;
      }
    }
  }
}
