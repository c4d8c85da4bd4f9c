/* A region: the guest code that one translated function stands for, as plain data, and the graph of its nodes.
 *
 * Code is named by offsets from the region's base page (the page of its seed), so a translation serves every address at which the same pages are mapped. A node is a run of
 * instructions together with the calls that it is inlined in (its context): a callee reached by a direct call is written once for each call site, and its
 * return is then a comparison with one address. Runs on the translator's thread. @source docs/translator.md */
import { createDecoder, newDecoded, type Decoder } from "../../../isa/decode.ts";
import type { Decoded } from "../../../isa/decoded.ts";
import { IRET, SYSCALL, SYSRET } from "../../../isa/sem/kernel-entry.ts";
import type { RegionPasses } from "./region-options.ts";

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
  /** Where indirect jumps and calls of the runs went so far. */
  readonly sites: readonly JumpSite[];
}

/** An indirect jump or call, and its targets. Crosses threads. */
export interface JumpSite {
  /** Of the address behind it. */
  readonly end: number;
  /** Offsets, the most frequent first. */
  readonly targets: readonly number[];
  /** It has gone elsewhere, too. */
  readonly more: boolean;
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
  /** Wherever the guest says, which is likely one of the guesses. `closed`: nothing else of the region is. */
  | { readonly kind: "dynamic"; readonly guesses: readonly Guess[]; readonly closed: boolean };
export interface Guess {
  readonly offset: number;
  readonly node: number;
}

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
/** Which of the passes that make the graph are on. */
export type GraphPasses = Pick<RegionPasses, "inlineCalls" | "guessTargets" | "knownReturns">;
/** Where a callee that is there once is called from more places, its return goes through the dispatcher. */
const MOST_RETURNS = 6;
const DYNAMIC: End = { kind: "dynamic", guesses: [], closed: false };
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
  readonly #passes: GraphPasses;
  readonly #sites: ReadonlyMap<number, JumpSite>;
  /** By the node of a call: nodes of its callees that are there once. */
  readonly #calls = new Map<number, number[]>();
  /** By return address: what was inlined for its call. */
  readonly #callees = new Map<number, Set<number>>();
  /** From this node on the RETs of its function likely go to that one. */
  readonly #returns: [number, number][] = [];
  readonly #leaders = new Set<number>();
  readonly #index = new Map<string, number>();
  readonly #waiting: number[] = [];
  #instructions = 0;

  constructor(code: RegionCode, supported: (d: Decoded) => boolean, limits: GraphLimits, passes: GraphPasses) {
    this.#known = decodeRuns(code);
    this.#supported = supported;
    this.#limits = limits;
    this.#passes = passes;
    this.#sites = new Map(passes.guessTargets ? code.sites.map((site) => [site.end, site]) : []);
    for (let i = 0; i < code.runs.length; i += 2) this.#leaders.add(code.runs[i]);
    for (const instruction of this.#known.values()) {
      if (!isJump(instruction.d)) continue;
      if (isRelative(instruction.d)) this.#leaders.add(targetOf(instruction));
      this.#leaders.add(nextOf(instruction));
    }
    this.#leaders.add(code.seed);
    this.#enter(code.seed);
    for (let node = this.#waiting.shift(); node !== undefined; node = this.#waiting.shift()) this.#finish(node);
    if (passes.knownReturns) this.#guessReturns();
  }

  /** The region can be entered here. */
  #enter(offset: number): void {
    const edge = this.#edge(offset, []);
    if ("node" in edge && !this.entries.includes(edge.node)) this.entries.push(edge.node);
  }
  /** The region can be entered behind a call, where nothing is known of the calls that this one was in. */
  #enterBehind(offset: number, context: readonly number[]): void {
    this.#enter(offset);
    if (context.length === 0) return;
    const [here, back] = [this.#edge(offset, []), this.#edge(context.at(-1)!, [])];
    if ("node" in here && "node" in back) this.#returns.push([here.node, back.node]);
  }
  #edge(offset: number, context: readonly number[]): Edge {
    const key = `${offset} ${context.join()}`;
    const known = this.#index.get(key);
    if (known !== undefined) return { node: known };
    const instructions = this.#run(offset);
    if (instructions.length === 0 || this.#instructions + instructions.length > this.#limits.instructions)
      return { exit: offset };
    this.#instructions += instructions.length;
    const node = this.nodes.push({ offset, context, instructions, end: DYNAMIC }) - 1;
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
      node.end = isRelative(last.d)
        ? { kind: "go", to: this.#call(index, targetOf(last), next) }
        : this.#guess(next, (target) => this.#call(index, target, next));
      if (this.#returnsHere(node.end)) this.#enterBehind(next, context);
    } else if (name === "jmp") {
      node.end = isRelative(last.d)
        ? { kind: "go", to: this.#edge(targetOf(last), context) }
        : this.#guess(next, (target) => this.#edge(target, context));
      const open = node.end.kind === "dynamic" && !node.end.closed;
      if (open && context.length > 0) this.#enterBehind(context.at(-1)!, context.slice(0, -1));
    } else if (isRelative(last.d)) {
      const taken = this.#edge(targetOf(last), context);
      node.end = { kind: "branch", taken, next: this.#edge(next, context) };
    } else if (name === "ret" && context.length > 0) {
      const address = context.at(-1)!;
      node.end = { kind: "return", address, to: this.#edge(address, context.slice(0, -1)) };
    }
  }
  /** An indirect jump or call, by where it went so far. */
  #guess(end: number, edgeTo: (target: number) => Edge): End {
    const site = this.#sites.get(end);
    if (site === undefined) return DYNAMIC;
    const guesses: Guess[] = [];
    for (const offset of site.targets) {
      const edge = edgeTo(offset);
      if ("node" in edge) guesses.push({ offset, node: edge.node });
    }
    const all = guesses.length > 0 && guesses.length === site.targets.length;
    return { kind: "dynamic", guesses, closed: all && !site.more };
  }
  /** A callee is inlined unless it is in the middle of itself; else it is a part of the region once for all its callers.
   *  @param node the call's  @param back address behind it */
  #call(node: number, target: number, back: number): Edge {
    const { context } = this.nodes[node];
    const within = context.some((address) => this.#callees.get(address)?.has(target));
    if (this.#passes.inlineCalls && context.length < this.#limits.depth && !within) {
      const inlined = this.#edge(target, [...context, back]);
      if ("node" in inlined) {
        this.#callees.set(back, (this.#callees.get(back) ?? new Set()).add(target));
        return inlined;
      }
    }
    const once = this.#edge(target, []);
    if ("node" in once) this.#calls.set(node, [...(this.#calls.get(node) ?? []), once.node]);
    return once;
  }
  /** Does the call's callee come back to the address behind it as any address? */
  #returnsHere(end: End): boolean {
    const comesBack = (node: number): boolean => this.nodes[node].context.length === 0;
    if (end.kind === "dynamic") return !end.closed || end.guesses.some(({ node }) => comesBack(node));
    return end.kind === "go" && ("exit" in end.to || comesBack(end.to.node));
  }

  /** Callees that are there once return behind one of their calls, and what is entered behind a call returns to where that was inlined. */
  #guessReturns(): void {
    for (const [call, callees] of this.#calls) {
      const back = this.#behind(call);
      if (back !== undefined) for (const callee of callees) this.#returns.push([callee, back]);
    }
    const guesses = new Map<number, Set<number>>();
    for (const [first, back] of this.#returns) {
      for (const node of this.#returnsFrom(first)) {
        const known = guesses.get(node);
        if (known) known.add(back);
        else guesses.set(node, new Set([back]));
      }
    }
    for (const [node, backs] of guesses) {
      if (backs.size > MOST_RETURNS) continue;
      const list = [...backs].map((back) => ({ offset: this.nodes[back].offset, node: back }));
      this.nodes[node].end = { kind: "dynamic", guesses: list, closed: true };
    }
  }
  /** The node to which the callee of this call returns, if it is there once. */
  #behind(call: number): number | undefined {
    return this.#index.get(`${nextOf(this.nodes[call].instructions.at(-1)!)} `);
  }
  /** Nodes with a RET that are reached without leaving the function. */
  #returnsFrom(first: number): number[] {
    const returns: number[] = [];
    const seen = new Set([first]);
    for (const node of seen) {
      const { end, instructions } = this.nodes[node];
      const back = this.#calls.has(node) ? this.#behind(node) : undefined;
      if (back !== undefined) seen.add(back);
      else if (end.kind === "dynamic" && instructions.at(-1)!.d.row.mnemonic === "ret") returns.push(node);
      else for (const to of nodesAfter(end)) seen.add(to);
    }
    return returns;
  }
}

/** Nodes to which an end leads. */
export function nodesAfter(end: End): number[] {
  if (end.kind === "dynamic") return end.guesses.map(({ node }) => node);
  const edges = end.kind === "branch" ? [end.next, end.taken] : [end.to];
  return edges.flatMap((edge) => ("node" in edge ? [edge.node] : []));
}

export function buildGraph(
  code: RegionCode,
  supported: (d: Decoded) => boolean,
  limits: GraphLimits,
  passes: GraphPasses,
): RegionGraph {
  const { nodes, entries } = new GraphBuilder(code, supported, limits, passes);
  return { nodes, entries };
}
