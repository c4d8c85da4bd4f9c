/* A region: the guest code that one translated function stands for, as plain data, and the graph of its nodes.
 *
 * Code is named by offsets from the region's base page (the page of its seed), so a translation serves every address at which the same pages are mapped. A node is a run of
 * instructions together with the calls that it is inlined in (its context): a callee reached by a direct call is written once for each call site, and its
 * return is then a comparison with one address. Runs on the translator's thread. @source docs/translator.md */
import { createDecoder, newDecoded, type Decoder } from "../../../isa/decode.ts";
import type { Decoded } from "../../../isa/decoded.ts";
import { IRET, SYSCALL, SYSRET } from "../../../isa/sem/kernel-entry.ts";

/** Code that has run, as the executor found it in its blocks. Crosses threads. */
export interface RegionCode {
  /** Offset of the first instruction. */
  readonly seed: number;
  /** Runs of whole instructions: offset and length in bytes of each, alternating. */
  readonly runs: Int32Array;
  /** Their bytes, one run after the other. */
  readonly bytes: Uint8Array;
  /** Stretches of its stack have crossed pages: without the pass stackSpans. */
  readonly crossing?: boolean;
}

export interface Instruction {
  readonly d: Decoded;
  readonly offset: number;
}

/** Where control goes: a node, or an address outside. */
export type Edge = { readonly node: number } | { readonly exit: number };
export type End =
  | { readonly kind: "go"; readonly to: Edge }
  | { readonly kind: "branch"; readonly taken: Edge; readonly next: Edge }
  /** RET in a callee: to the node if the address is that of its call. */
  | { readonly kind: "return"; readonly address: number; readonly to: Edge }
  /** Wherever the guest says. */
  | { readonly kind: "dynamic" };

export interface RegionNode {
  readonly offset: number;
  /** Return addresses of the calls that it is inlined in, innermost last. */
  readonly context: readonly number[];
  readonly instructions: readonly Instruction[];
  end: End;
}

export interface RegionGraph {
  readonly nodes: readonly RegionNode[];
  /** Node of the seed first; further nodes at which the region shall be entered. */
  readonly entries: number[];
}

export interface GraphLimits {
  readonly instructions: number;
  readonly depth: number;
}
export const GRAPH_LIMITS: GraphLimits = { instructions: 500, depth: 4 };

/** Deep copy of what the decoder reuses. */
function copyOf(d: Decoded): Decoded {
  return { ...d, operands: d.operands.slice(0, d.operandCount).map((operand) => ({ ...operand })) };
}

let decoder: Decoder | undefined;

/** All instructions of the runs by offset. */
function decodeRuns({ runs, bytes }: RegionCode): Map<number, Instruction> {
  decoder ??= createDecoder();
  const d = newDecoded();
  const known = new Map<number, Instruction>();
  let start = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const end = start + runs[i + 1];
    for (let at = start; at < end;) {
      const offset = runs[i] + at - start;
      if (known.has(offset) || decoder.decode(bytes, at, end, d)) break;
      known.set(offset, { d: copyOf(d), offset });
      at += d.length;
    }
    start = end;
  }
  return known;
}

const isRelative = (d: Decoded): boolean => d.operandCount > 0 && d.operands[0].kind === "rel";
const targetOf = ({ d, offset }: Instruction): number => offset + d.length + d.imm32;
const nextOf = ({ d, offset }: Instruction): number => offset + d.length;
/** SYSCALL, SYSRET, IRET: they go where registers and the stack say. */
export const entersOrLeavesKernel = ({ row: { semantics } }: Decoded): boolean =>
  semantics === SYSCALL || semantics === SYSRET || semantics === IRET;
/** Near jumps, calls and returns. */
const isJump = (d: Decoded): boolean => d.row.ends === true && d.row.size === "64";

class GraphBuilder {
  readonly nodes: RegionNode[] = [];
  readonly entries: number[] = [];
  readonly #known: Map<number, Instruction>;
  readonly #supported: (d: Decoded) => boolean;
  readonly #limits: GraphLimits;
  readonly #inline: boolean;
  readonly #leaders = new Set<number>();
  readonly #index = new Map<string, number>();
  readonly #waiting: number[] = [];
  #instructions = 0;

  constructor(code: RegionCode, supported: (d: Decoded) => boolean, limits: GraphLimits, inline: boolean) {
    this.#known = decodeRuns(code);
    this.#supported = supported;
    this.#limits = limits;
    this.#inline = inline;
    for (let i = 0; i < code.runs.length; i += 2) this.#leaders.add(code.runs[i]);
    for (const instruction of this.#known.values()) {
      if (!isJump(instruction.d)) continue;
      if (isRelative(instruction.d)) this.#leaders.add(targetOf(instruction));
      this.#leaders.add(nextOf(instruction));
    }
    this.#leaders.add(code.seed);
    this.#enter(code.seed);
    for (let node = this.#waiting.shift(); node !== undefined; node = this.#waiting.shift()) this.#finish(node);
  }

  /** The region can be entered here. */
  #enter(offset: number): void {
    const edge = this.#edge(offset, []);
    if ("node" in edge && !this.entries.includes(edge.node)) this.entries.push(edge.node);
  }
  #edge(offset: number, context: readonly number[]): Edge {
    const key = `${offset} ${context.join()}`;
    const known = this.#index.get(key);
    if (known !== undefined) return { node: known };
    const instructions = this.#run(offset);
    if (instructions.length === 0 || this.#instructions + instructions.length > this.#limits.instructions)
      return { exit: offset };
    this.#instructions += instructions.length;
    const node = this.nodes.push({ offset, context, instructions, end: { kind: "dynamic" } }) - 1;
    this.#index.set(key, node);
    this.#waiting.push(node);
    return { node };
  }
  /** Supported instructions from an offset to the next leader or the end of what is known. */
  #run(offset: number): Instruction[] {
    const run: Instruction[] = [];
    for (let at = offset; at === offset || !this.#leaders.has(at);) {
      const instruction = this.#known.get(at);
      if (instruction === undefined || !this.#supported(instruction.d)) break;
      run.push(instruction);
      if (instruction.d.row.ends) break;
      at += instruction.d.length;
    }
    return run;
  }

  #finish(index: number): void {
    const node = this.nodes[index];
    const { context } = node;
    const last = node.instructions.at(-1)!;
    const next = nextOf(last);
    const name = last.d.row.mnemonic;
    if (entersOrLeavesKernel(last.d)) return;
    if (!isJump(last.d)) node.end = { kind: "go", to: this.#edge(next, context) };
    else if (name === "call") {
      node.end = isRelative(last.d) ? { kind: "go", to: this.#call(last, context) } : { kind: "dynamic" };
      if (this.#returnsHere(node.end)) this.#enter(next);
    } else if (name === "jmp") {
      node.end = isRelative(last.d) ? { kind: "go", to: this.#edge(targetOf(last), context) } : { kind: "dynamic" };
    } else if (isRelative(last.d)) {
      const taken = this.#edge(targetOf(last), context);
      node.end = { kind: "branch", taken, next: this.#edge(next, context) };
    } else if (name === "ret" && context.length > 0) {
      const address = context.at(-1)!;
      node.end = { kind: "return", address, to: this.#edge(address, context.slice(0, -1)) };
    }
  }
  /** A callee is inlined unless it is in the middle of itself; else it is a part of the region once for all its callers, and returns through the dispatcher. */
  #call(call: Instruction, context: readonly number[]): Edge {
    const [target, back] = [targetOf(call), nextOf(call)];
    if (!this.#inline || context.length >= this.#limits.depth || context.includes(back)) return this.#edge(target, []);
    const inlined = this.#edge(target, [...context, back]);
    return "node" in inlined ? inlined : this.#edge(target, []);
  }
  /** Does the call's callee come back to the address behind it as any address? */
  #returnsHere(end: End): boolean {
    return (
      end.kind === "dynamic" ||
      (end.kind === "go" && ("exit" in end.to || this.nodes[end.to.node].context.length === 0))
    );
  }
}

export function buildGraph(
  code: RegionCode,
  supported: (d: Decoded) => boolean,
  limits: GraphLimits,
  inline: boolean,
): RegionGraph {
  const { nodes, entries } = new GraphBuilder(code, supported, limits, inline);
  return { nodes, entries };
}
