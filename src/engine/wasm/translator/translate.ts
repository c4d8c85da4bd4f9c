/* Writes a region as one wasm function (state, entry) → next entry, like the interpreter's handlers: prologue that takes registers into locals, the nodes in
 * structured control flow, and the two ways out. Knows nothing of threads. @source docs/translator.md */
import type { Decoded } from "../../../isa/decoded.ts";
import { Reg } from "../../../isa/registers.ts";
import { FunctionBuilder, type Label } from "../../../wasm/function.ts";
import { STATE } from "../emit-flags.ts";
import { ENTRY, type Imports } from "../emit-memory.ts";
import { addressForm, shapeKey } from "../handlers.ts";
import { pushCachedBlock, pushJumpCacheHit } from "../jump-cache.ts";
import { Engine, Entry } from "../layout.ts";
import { EmitRegion } from "./emit-region.ts";
import {
  buildGraph,
  entersOrLeavesKernel,
  GRAPH_LIMITS,
  type Edge,
  type End,
  nodesAfter,
  type RegionCode,
  type RegionGraph,
  type RegionNode,
} from "./region.ts";
import { PageReuse } from "./page-reuse.ts";
import { RegionEntry, RegionRecord } from "./region-entry.ts";
import { StackSpans } from "./stack-spans.ts";
import { UNKNOWN_FLAGS } from "./region-flags.ts";
import { Unsupported } from "./region-state.ts";
import type { RegionOptions } from "./region-options.ts";
import { Structure, writeStructured } from "./structure.ts";

export interface RegionFunction {
  readonly f: FunctionBuilder;
  /** Offsets at which it can be entered; the index is the label. */
  readonly entries: readonly number[];
  readonly instructions: number;
}

const HANDLER: readonly ["i32", "i32"] = ["i32", "i32"];
const PAGE = 4096;

/** What is known of an instruction after it was written once. */
interface Shape {
  /** Can it be a part of a region? */
  readonly supported: boolean;
  /** It makes pages at hand invalid. */
  readonly forgets: boolean;
}
const NO_PART: Shape = { supported: false, forgets: false };
const knownShapes = new WeakMap<RegionOptions, Map<string, Shape>>();

function shapeOf(d: Decoded, options: RegionOptions): Shape {
  if (d.row.ends && d.row.size !== "64" && !entersOrLeavesKernel(d)) return NO_PART;
  // An immediate that chooses among ways of computing (PCMPxSTRx, ENTER) can be what makes the difference.
  const chosen = d.row.map === 3 ? d.imm32 : d.imm2;
  const key = `${shapeKey(d, addressForm(d))} ${chosen}`;
  const shapes = knownShapes.get(options) ?? new Map<string, Shape>();
  knownShapes.set(options, shapes);
  let shape = shapes.get(key);
  if (shape === undefined) {
    const trial = new EmitRegion(new FunctionBuilder(HANDLER, ["i32"]), { function: () => 0 }, options, false);
    try {
      trial.f.block();
      trial.instruction(d, 0, 1);
      shape = { supported: true, forgets: trial.hasForgotten };
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      shape = NO_PART;
    }
    shapes.set(key, shape);
  }
  return shape;
}

class RegionWriter {
  readonly f = new FunctionBuilder(HANDLER, ["i32"], true);
  readonly #emit: EmitRegion;
  readonly #imports: Imports;
  readonly #nodes: readonly RegionNode[];
  /** Nodes that the dispatcher (node 0 of the structure; node n of the region is n + 1 there) goes to by label. */
  readonly targets: number[];
  readonly #label = this.f.local("i32");
  readonly #at = this.f.local("i32");
  /** Decoded entry that the jump cache has for the address where the region is left to; 0: not looked up. */
  readonly #found = this.f.local("i32");
  /** The region's entry, where it is left though it might go on; else 0. */
  readonly #outgrown = this.f.local("i32");
  /** Of an indirect jump's target from the base page. */
  readonly #distance = this.f.local("i64");
  readonly #structure: Structure;
  readonly #stackSpans: StackSpans | undefined;
  /** Edges, as source · 2^20 + target, that go through the dispatcher. */
  readonly #dispatched = new Set<number>();

  /** @param crossing its stack has crossed pages */
  constructor(graph: RegionGraph, imports: Imports, options: RegionOptions, wideRam: boolean, crossing: boolean) {
    this.#imports = imports;
    this.#nodes = graph.nodes;
    this.targets = graph.entries.map((node) => node + 1);
    this.#emit = new EmitRegion(this.f, imports, options, wideRam);
    this.#structure = this.#makeReducible();
    this.#addLoopEntries();
    this.#structure = this.#makeReducible();
    if (options.passes.pageReuse)
      this.#emit.pageReuse = new PageReuse(graph.nodes, this.#structure, (node) => this.#successors(node));
    if (!options.passes.stackSpans || crossing) return;
    this.#emit.stackSpans = true;
    this.#stackSpans = new StackSpans(
      graph.nodes,
      this.#structure,
      (node) => this.#successors(node),
      this.targets,
      (d) => shapeOf(d, options).forgets,
    );
  }

  // ——— structure ———
  #successors(node: number): number[] {
    const { end } = this.#nodes[node - 1];
    const after = nodesAfter(end).map((to) => (this.#dispatched.has(node * 2 ** 20 + to + 1) ? 0 : to + 1));
    return end.kind === "dynamic" && !end.closed ? [...after, 0] : after;
  }
  #build(): Structure {
    return new Structure({
      successors: [this.targets, ...this.#nodes.map((_, i) => this.#successors(i + 1))],
    });
  }
  /** Sends edges into the middle of loops through the dispatcher until none is left. */
  #makeReducible(): Structure {
    for (;;) {
      const structure = this.#build();
      const bad = structure.irreducibleTargets();
      if (bad.size === 0) return structure;
      for (const to of bad) if (!this.targets.includes(to)) this.targets.push(to);
      for (let node = 1; node <= this.#nodes.length; node++) {
        if (structure.order[node] < 0) continue;
        for (const to of this.#successors(node)) {
          const back = to !== 0 && structure.order[to] <= structure.order[node];
          if (back && !structure.dominates(to, node)) this.#dispatched.add(node * 2 ** 20 + to);
        }
      }
    }
  }
  /** Outermost loops can be entered at their header: that is where a region is left for want of fuel. */
  #addLoopEntries(): void {
    const structure = this.#structure;
    const inner = new Set<number>();
    const headers: number[] = [];
    for (let node = 1; node <= this.#nodes.length; node++)
      if (structure.order[node] >= 0 && structure.isLoopHeader(node)) headers.push(node);
    for (const header of headers) for (const node of this.#loopOf(header)) if (node !== header) inner.add(node);
    for (const header of headers) {
      if (inner.has(header) || this.#nodes[header - 1].context.length > 0 || this.targets.includes(header)) continue;
      this.targets.push(header);
    }
  }
  /** Nodes from which the header is reached again without leaving what it dominates. */
  #loopOf(header: number): Set<number> {
    const structure = this.#structure;
    const inLoop = new Set([header]);
    const predecessors = new Map<number, number[]>();
    for (let node = 1; node <= this.#nodes.length; node++) {
      if (structure.order[node] < 0) continue;
      for (const to of this.#successors(node)) {
        const list = predecessors.get(to);
        if (list) list.push(node);
        else predecessors.set(to, [node]);
      }
    }
    const stack = (predecessors.get(header) ?? []).filter((node) => structure.dominates(header, node));
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (inLoop.has(node)) continue;
      inLoop.add(node);
      stack.push(...(predecessors.get(node) ?? []));
    }
    return inLoop;
  }

  // ——— code ———
  write(pages: number): void {
    const { f } = this;
    const emit = this.#emit;
    const leaves = f.local("i32");
    const word = f.local("i64");
    const out = f.block();
    emit.side = f.block("i64");
    emit.leaveLabel = f.block();
    emit.leaveAt = f.block("i64");
    writeStructured(
      f,
      this.#structure,
      (node) => this.targets.includes(node),
      (node, labelOf, goTo) => (node === 0 ? this.#dispatch(labelOf) : this.#node(node, goTo)),
    );
    f.op("unreachable").end();
    emit.takeExitWord(word);
    f.end().i32(1).set(leaves).br(out).end();
    emit.takeExitWord(word);
    f.end();
    f.prepend(() => this.#prologue(pages));
    this.#spill();
    f.get(leaves).if();
    f.get(STATE).get(this.#found).get(this.#outgrown).returnCall(this.#imports.function("leave")).end();
    f.get(STATE).returnCall(this.#imports.function("interpret"));
  }
  #dispatch(labelOf: (to: number) => Label): void {
    const { targets } = this;
    this.f.get(this.#label).brTable(targets.slice(0, -1).map(labelOf), labelOf(targets.at(-1)!));
  }
  #node(node: number, goTo: (to: number) => void): void {
    const { f } = this;
    const emit = this.#emit;
    const { offset, instructions } = this.#nodes[node - 1];
    const structure = this.#structure;
    const target = this.targets.includes(node);
    if (structure.isLoopHeader(node) || structure.isMerge(node) || target) emit.flagsState = UNKNOWN_FLAGS;
    if (structure.isLoopHeader(node) || target) {
      f.get(emit.fuel).i32(0).op("i32.lt_s").likely(false).if();
      emit.exitTo(offset);
      f.end();
    }
    f.get(emit.fuel).i32(instructions.length).op("i32.sub").set(emit.fuel);
    emit.likelyPages = emit.pageReuse?.likely[node] ?? 0;
    const stackUses = this.#stackSpans?.of(node);
    instructions.forEach((instruction, i) => {
      emit.stackUse = stackUses?.[i];
      f.reuseLocals(() => emit.instruction(instruction.d, instruction.offset, instructions.length - i));
    });
    emit.syncFlagKind();
    this.#end(node, goTo);
  }
  #end(node: number, goTo: (to: number) => void): void {
    const { f } = this;
    const emit = this.#emit;
    const { end } = this.#nodes[node - 1];
    const state = emit.flagsState;
    const follow = (edge: Edge): void => {
      emit.flagsState = state;
      this.#follow(node, edge, goTo);
    };
    if (end.kind === "go") return follow(end.to);
    if (end.kind === "dynamic") return this.#goGuessed(end, follow, goTo);
    if (end.kind === "return") {
      f.get(emit.target);
      emit.pushAddress(end.address);
      f.op("i64.eq");
    }
    if (end.kind === "return") f.likely(true);
    f.if();
    follow(end.kind === "return" ? end.to : end.taken);
    f.else();
    if (end.kind === "return") {
      f.get(emit.target).set(emit.rip);
      emit.exitToRip();
    } else follow(end.next);
    f.end().op("unreachable");
  }
  /** To the address in `target`, by comparison with the guesses. */
  #goGuessed(
    { guesses, closed }: Extract<End, { kind: "dynamic" }>,
    follow: (edge: Edge) => void,
    goTo: (to: number) => void,
  ): void {
    const { f } = this;
    const emit = this.#emit;
    const state = emit.flagsState;
    if (guesses.length > 0) f.get(emit.target).get(emit.base).op("i64.sub").set(this.#distance);
    guesses.forEach(({ offset, node }, i) => {
      f.get(this.#distance).i64(offset).op("i64.eq");
      if (i === guesses.length - 1) f.likely(true);
      f.if();
      follow({ node });
      f.end();
    });
    emit.flagsState = state;
    if (!closed) return this.#goAnywhere(goTo);
    f.get(emit.target).set(emit.rip);
    emit.exitToRip();
  }
  /** To the address in `target`: through the dispatcher if this region can be entered there, else out. */
  #goAnywhere(goTo: (to: number) => void): void {
    const { f } = this;
    const emit = this.#emit;
    f.get(emit.target).set(emit.rip);
    pushJumpCacheHit(f, emit.rip, this.#at);
    f.if();
    pushCachedBlock(f, this.#at);
    f.tee(this.#at).memory("i32.load16_u", Entry.HANDLER).get(ENTRY).memory("i32.load16_u", Entry.HANDLER).op("i32.eq");
    f.get(emit.rip).i64(-PAGE).op("i64.and").get(this.#at).memory("i64.load32_s", RegionEntry.BASE).op("i64.add");
    f.get(emit.base).op("i64.eq").op("i32.and").if();
    f.get(this.#at).memory("i32.load", RegionEntry.LABEL).set(this.#label);
    goTo(0);
    f.end();
    f.get(this.#at).set(this.#found).end();
    emit.exitToRip();
  }
  #follow(node: number, edge: Edge, goTo: (to: number) => void): void {
    if ("exit" in edge) {
      this.f.get(ENTRY).set(this.#outgrown);
      return this.#emit.exitTo(edge.exit);
    }
    const to = edge.node + 1;
    if (!this.#dispatched.has(node * 2 ** 20 + to)) return goTo(to);
    this.f.i32(this.targets.indexOf(to)).set(this.#label);
    goTo(0);
  }

  #prologue(pages: number): void {
    const { f } = this;
    const emit = this.#emit;
    f.get(STATE).memory("i64.load", Reg.PAGE_VA).get(ENTRY).memory("i64.load32_s", RegionEntry.BASE).op("i64.add");
    f.set(emit.base);
    if (this.#usesUnits()) {
      f.get(STATE)
        .memory("i32.load", Engine.SSE_TRAP)
        .get(STATE)
        .memory("i32.load", Engine.X87_TRAP)
        .op("i32.or")
        .likely(false)
        .if();
      this.#decline();
      f.end();
    }
    if (pages > 1) {
      const record = f.local("i32");
      f.get(ENTRY).memory("i32.load", RegionEntry.RECORD).set(record);
      for (const tag of [Engine.CODE_TAG, Engine.CODE_TAG_GLOBAL])
        f.get(record).memory("i32.load", RegionRecord.TAG).get(STATE).memory("i32.load", tag).op("i32.ne");
      f.op("i32.and")
        .get(record)
        .memory("i64.load", RegionRecord.BASE)
        .get(emit.base)
        .op("i64.ne")
        .op("i32.or")
        .likely(false)
        .if();
      f.get(STATE).get(ENTRY).call(this.#imports.function("validate")).if();
      this.#decline();
      f.end().end();
    }
    f.get(STATE).memory("i32.load", Engine.FUEL).set(emit.fuel);
    f.get(STATE).memory("i32.load", Engine.TLB).set(emit.tlb);
    f.get(ENTRY).memory("i32.load", RegionEntry.LABEL).set(this.#label);
    f.get(STATE).memory("i64.load", Reg.FLAG_RESULT).set(emit.fa);
    f.get(STATE).memory("i64.load", Reg.FLAG_AUX).set(emit.fb);
    f.get(STATE).memory("i64.load", Engine.FLAG_THIRD).set(emit.fr);
    if (emit.usesOver) f.get(STATE).memory("i64.load", Engine.FLAG_FOURTH).set(emit.fx);
    f.get(STATE).memory("i32.load", Engine.FLAG_KIND).set(emit.fk);
    if (emit.usesFpMode) emit.loadFpMode();
    emit.startPages();
    for (const [n, local] of emit.gprs)
      f.get(STATE)
        .memory("i64.load", Reg.GPR + 8 * n)
        .set(local);
    for (const [n, local] of emit.xmms)
      f.get(STATE)
        .memory("v128.load", Reg.XMM + 16 * n)
        .set(local);
  }
  /** Is there an SSE, MMX or x87 instruction? Those trap as CR0 and CR4 say. */
  #usesUnits(): boolean {
    return this.#nodes.some((node) => node.instructions.some(({ d }) => d.row.unit !== undefined));
  }
  /** The interpreter runs what is here. */
  #decline(): void {
    const { f } = this;
    f.get(STATE).get(STATE).memory("i64.load", Reg.PAGE_VA).get(ENTRY).memory("i64.load16_u", Entry.OFFSET);
    f.op("i64.add").memory("i64.store", Reg.RIP);
    f.get(STATE).returnCall(this.#imports.function("interpret"));
  }
  #spill(): void {
    const { f } = this;
    const emit = this.#emit;
    f.get(STATE).get(emit.rip).memory("i64.store", Reg.RIP);
    f.get(STATE).get(emit.fuel).memory("i32.store", Engine.FUEL);
    for (const n of emit.writtenGprs)
      f.get(STATE)
        .get(emit.gprs.get(n)!)
        .memory("i64.store", Reg.GPR + 8 * n);
    for (const n of emit.writtenXmms)
      f.get(STATE)
        .get(emit.xmms.get(n)!)
        .memory("v128.store", Reg.XMM + 16 * n);
    f.get(STATE).get(emit.fa).memory("i64.store", Reg.FLAG_RESULT);
    f.get(STATE).get(emit.fb).memory("i64.store", Reg.FLAG_AUX);
    f.get(STATE).get(emit.fr).memory("i64.store", Engine.FLAG_THIRD);
    if (emit.usesOver) f.get(STATE).get(emit.fx).memory("i64.store", Engine.FLAG_FOURTH);
    f.get(STATE).get(emit.fk).memory("i32.store", Engine.FLAG_KIND);
  }
}

/** Translates a region. @param wideRam the frames memory takes 64-bit addresses  @returns undefined if not even its first instruction can be */
export function translateRegion(
  code: RegionCode,
  imports: Imports,
  options: RegionOptions,
  wideRam: boolean,
): RegionFunction | undefined {
  const graph = buildGraph(code, (d) => shapeOf(d, options).supported, GRAPH_LIMITS, options.passes);
  if (graph.entries.length === 0) return undefined;
  const writer = new RegionWriter(graph, imports, options, wideRam, code.crossing === true);
  const pages = new Set<number>();
  for (let i = 0; i < code.runs.length; i += 2) pages.add(Math.floor(code.runs[i] / PAGE));
  writer.write(pages.size);
  return {
    f: writer.f,
    entries: writer.targets.map((node) => graph.nodes[node - 1].offset),
    instructions: graph.nodes.reduce((n, node) => n + node.instructions.length, 0),
  };
}
