/* The core module: the interpreter's run loop and the out-of-line halves of memory access. Generated once; handlers import what they need.
 * All functions take the register file's address first and the decoded entry's second, like handlers. */
import { MOST_NARROW_PAGES } from "../../memory/frames.ts";
import { Reg } from "../../isa/registers.ts";
import { FunctionBuilder, type Label } from "../../wasm/function.ts";
import { ModuleBuilder } from "../../wasm/module.ts";
import type { ValueTypeName } from "../../wasm/opcodes.ts";
import { STATE } from "./emit-flags.ts";
import { findBlock } from "./find-block.ts";
import type { HandlerExits } from "./emit-handler.ts";
import { writeExchangePair, writeStoreLocked } from "./locked.ts";
import { ENTRY, pushTlbEntry, type Imports } from "./emit-memory.ts";
import { pushCachedBlock, pushJumpCacheHit } from "./jump-cache.ts";
import { noteTarget } from "./jump-targets.ts";
import { Engine, Entry, ENTRY_UNCHAINED, MAX_EXECUTORS, statePages, Tlb } from "./layout.ts";
import { pageAddend, refill, stretchAddend } from "./refill.ts";
import { copyRun, fillRun } from "./string-run.ts";
import type { CodeTables } from "./walk.ts";

/** Access kinds of the host function `fill`. */
export const Access = { READ: 0, WRITE: 1 } as const;

/** Parameters and results. */
export type Signature = readonly [readonly ValueTypeName[], readonly ValueTypeName[]];

/** Host functions, in import order: parameters and result. */
export const HOST_FUNCTIONS = {
  /** (state, entry, address low, address high, access, size) → 0: the TLB now has it; 1: do it piecewise, unless a #PF was noted. Throws other faults. */
  fill: [["i32", "i32", "i32", "i32", "i32", "i32"], ["i32"]],
  readSlow: [["i32", "i32", "i64", "i32"], ["i64"]],
  writeSlow: [["i32", "i32", "i64", "i64", "i32"], []],
  /** (state, entry, address, expected, value, size) → 1 if memory held what was expected, and holds the value now. */
  storeLockedSlow: [["i32", "i32", "i64", "i64", "i64", "i32"], ["i32"]],
  /** (state, entry, address, expected and replacement, low half first) → equal; what was there is in SCRATCH. */
  exchangePairSlow: [["i32", "i32", "i64", "i64", "i64", "i64", "i64"], ["i32"]],
  readVectorSlow: [["i32", "i32", "i64"], []],
  writeVectorSlow: [["i32", "i32", "i64"], []],
  /** (state) → first entry of the block at RIP, put into the jump cache; 0: the fetch ended in a #PF, and RIP is its handler's. Throws other faults. */
  lookUp: [["i32"], ["i32"]],
  /** (state): delivers the #PF of Engine.FAULT; RIP is its instruction's, and its handler's afterwards. */
  pageFault: [["i32"], []],
  probeWrite: [["i32", "i32", "i64", "i32"], []],
  /** Nanoseconds of the host's monotonic clock. */
  clock: [["i32", "i32"], ["f64"]],
  raise: [["i32", "i32", "i32", "i32"], []],
  raiseSse: [["i32", "i32"], []],
  raiseX87: [["i32", "i32"], []],
  fpArithmetic: [["i32", "i32", "i32", "i32", "i64", "i64"], ["i64"]],
  fpConvert: [["i32", "i32", "i32", "i32", "i64"], ["i64"]],
  fpRound: [["i32", "i32", "i32", "i64", "i64"], ["i64"]],
  fpCompare: [["i32", "i32", "i32", "i64", "i64", "i64"], ["i64"]],
  /** The same for one lane of a packed operation: flags go to FP_FLAGS until fpRaise. */
  fpArithmeticLane: [["i32", "i32", "i32", "i32", "i64", "i64"], ["i64"]],
  fpConvertLane: [["i32", "i32", "i32", "i32", "i64"], ["i64"]],
  fpRoundLane: [["i32", "i32", "i32", "i64", "i64"], ["i64"]],
  fpCompareLane: [["i32", "i32", "i32", "i64", "i64", "i64"], ["i64"]],
  fpRaise: [["i32", "i32"], []],
} as const satisfies Record<string, Signature>;
export type HostFunction = keyof typeof HOST_FUNCTIONS;

/** Functions that the core module exports for handlers. */
export const CORE_FUNCTIONS = {
  /** (state, address, access, size) → 0: the TLB now has it, and it lies in one page; 1: the slow way, or a #PF was noted in Engine.FAULT. Raises nothing. */
  refill: [["i32", "i64", "i32", "i32"], ["i32"]],
  /** (state, address, access, size) → addend (Tlb.ADDEND) of the page that the access lies in; NO_ADDEND: the slow way. Raises nothing. */
  pageAddend: [["i32", "i64", "i32", "i32"], ["i64"]],
  /** (state, entry, address, size) → addend of the page that a region's stretch of the stack lies in, if it may be written without being marked for it; NO_ADDEND: else, with
   *  the region's entry in CROSSING. Raises nothing. */
  stretchAddend: [["i32", "i32", "i64", "i32"], ["i64"]],
  /** (state) → first entry of the block at RIP, put into the jump cache; 0: ask lookUp. Raises nothing. */
  findBlock: [["i32"], ["i32"]],
  /** (entry of an indirect jump, distance of its target from its page): counts it. */
  noteTarget: [["i32", "i64"], []],
  /** (state, entry): the instruction has changed nothing and ends in the #PF of Engine.FAULT; RIP is its handler's afterwards. */
  endInFault: [["i32", "i32"], []],
  // The next five may note a #PF, and have then done nothing.
  load: [["i32", "i32", "i64", "i32"], ["i64"]],
  store: [["i32", "i32", "i64", "i64", "i32"], []],
  update: [["i32", "i32", "i64", "i32"], ["i64"]],
  /** (state, entry, address, address in the frames memory or −1, expected, value, size) → 1: done, 0: memory has changed. */
  storeLocked: [["i32", "i32", "i64", "i64", "i64", "i64", "i32"], ["i32"]],
  /** (state, entry, address, address in the frames memory or −1, expected and replacement, low half first) → equal; what was there is in SCRATCH. */
  exchangePair: [["i32", "i32", "i64", "i64", "i64", "i64", "i64", "i64"], ["i32"]],
  loadVector: [["i32", "i32", "i64"], []],
  storeVector: [["i32", "i32", "i64"], []],
  /** (state, to, from, elements, log2 of their size) → elements of a REP MOVS that were done (string-run.ts). Raises nothing. */
  copyRun: [["i32", "i64", "i64", "i64", "i32"], ["i64"]],
  /** (state, to, value in all its 8 bytes, elements, log2 of their size) → elements of a REP STOS that were done. Raises nothing. */
  fillRun: [["i32", "i64", "i64", "i64", "i32"], ["i64"]],
} as const satisfies Record<string, Signature>;
export type CoreFunction = keyof typeof CORE_FUNCTIONS;

const HANDLER_TYPE: [ValueTypeName[], ValueTypeName[]] = [["i32", "i32"], ["i32"]];
const ADDRESS = 2;

/** Does a frames memory of this many 64-KiB pages take 64-bit addresses? The same rule as FramePool.create's. */
export const isWideRam = (ramPages: number): boolean => ramPages > MOST_NARROW_PAGES;
/** Declares the two memories; every generated module has them. @param swapped for functions that are (FunctionBuilder) */
export function importMemories(m: ModuleBuilder, ramPages: number, swapped = false): void {
  const state = (): void => m.importMemory("mere", "state", statePages(1), statePages(MAX_EXECUTORS), false);
  if (!swapped) state();
  m.importMemory("mere", "ram", ramPages, ramPages, isWideRam(ramPages));
  if (swapped) state();
}

class CoreWriter {
  readonly m = new ModuleBuilder();
  /** Indices by name: host functions, calls, and the core functions once they are added. */
  readonly #functions = new Map<string, number>();
  readonly #imports: Imports = { function: (name) => this.#index(name) };

  constructor(ramPages: number, tablesPages: number, calls: readonly [string, Signature][]) {
    for (const [name, [parameters, results]] of [...Object.entries<Signature>(HOST_FUNCTIONS), ...calls]) {
      this.#functions.set(name, this.m.importFunction("host", name, parameters, results));
    }
    importMemories(this.m, ramPages);
    this.m.importMemory("mere", "tables", tablesPages, tablesPages, false);
    this.m.importTable("mere", "handlers", 1);
  }

  addAddends(): void {
    this.add("pageAddend", pageAddend(this.#index("refill")));
    this.add("stretchAddend", stretchAddend(this.#index("refill")));
  }
  addRuns(): void {
    this.add("copyRun", copyRun(this.#index("refill")));
    this.add("fillRun", fillRun(this.#index("refill")));
  }
  #index(name: string): number {
    const index = this.#functions.get(name);
    if (index === undefined) throw new Error(`the core module has no function ${name}`);
    return index;
  }
  add(name: string, f: FunctionBuilder): void {
    const index = this.m.add(f);
    this.#functions.set(name, index);
    this.m.export(name, index);
  }

  #start(name: CoreFunction): FunctionBuilder {
    const [parameters, results] = CORE_FUNCTIONS[name];
    return new FunctionBuilder(parameters, results);
  }
  addLocked(pairsAlone: boolean): void {
    this.add("storeLocked", writeStoreLocked(this.#start("storeLocked"), this.#index("storeLockedSlow")));
    this.add(
      "exchangePair",
      writeExchangePair(this.#start("exchangePair"), this.#index("exchangePairSlow"), pairsAlone),
    );
  }
  #host(f: FunctionBuilder, name: HostFunction): void {
    f.call(this.#index(name));
  }
  /** Leaves fill's answer on the stack. */
  #fill(f: FunctionBuilder, access: number, pushSize: () => void): void {
    f.get(STATE).get(ADDRESS).i32(access);
    pushSize();
    f.call(this.#index("refill")).if("i32");
    f.get(STATE).memory("i32.load", Engine.FAULT).if("i32");
    f.i32(1).else();
    f.get(STATE)
      .get(ENTRY)
      .get(ADDRESS)
      .op("i32.wrap_i64")
      .get(ADDRESS)
      .i64(32)
      .op("i64.shr_u")
      .op("i32.wrap_i64")
      .i32(access);
    pushSize();
    this.#host(f, "fill");
    f.end().else();
    f.i32(0).end();
  }
  /** Returns 0 in all of the function's results if a #PF was noted. */
  #returnIfFault(f: FunctionBuilder, hasResult: boolean): void {
    f.get(STATE).memory("i32.load", Engine.FAULT).if();
    if (hasResult) f.i64(0);
    f.op("return").end();
  }
  endInFault(): FunctionBuilder {
    const f = this.#start("endInFault");
    f.get(STATE).get(STATE).memory("i64.load", Reg.PAGE_VA);
    f.get(ENTRY).memory("i64.load16_u", Entry.OFFSET).op("i64.add").memory("i64.store", Reg.RIP);
    f.get(STATE).get(STATE).memory("i32.load", Engine.FUEL).get(ENTRY).memory("i32.load8_u", Entry.POSITION);
    f.op("i32.sub").memory("i32.store", Engine.FUEL);
    f.get(STATE);
    this.#host(f, "pageFault");
    return f;
  }
  /** Pushes the address in the frames memory; the TLB has it. */
  #hostAddress(f: FunctionBuilder): void {
    f.get(ADDRESS);
    pushTlbEntry(f, () => f.get(ADDRESS));
    f.memory("i64.load", Tlb.ADDEND).op("i64.add");
  }

  load(): FunctionBuilder {
    const f = this.#start("load");
    const size = 3;
    const at = f.local("i64");
    this.#fill(f, Access.READ, () => f.get(size));
    f.if();
    this.#returnIfFault(f, true);
    f.get(STATE).get(ENTRY).get(ADDRESS).get(size);
    this.#host(f, "readSlow");
    f.op("return").end();
    this.#hostAddress(f);
    f.set(at);
    for (const [n, name] of [
      [8, "i64.load"],
      [4, "i64.load32_u"],
      [2, "i64.load16_u"],
    ] as const) {
      f.get(size).i32(n).op("i32.eq").if();
      f.get(at).ramAddress().memory(name, 0, 1).op("return").end();
    }
    f.get(at).ramAddress().memory("i64.load8_u", 0, 1);
    return f;
  }
  store(): FunctionBuilder {
    const f = this.#start("store");
    const [value, size] = [3, 4];
    const at = f.local("i64");
    this.#fill(f, Access.WRITE, () => f.get(size));
    f.if();
    this.#returnIfFault(f, false);
    f.get(STATE).get(ENTRY).get(ADDRESS).get(value).get(size);
    this.#host(f, "writeSlow");
    f.op("return").end();
    this.#hostAddress(f);
    f.set(at);
    for (const [n, name] of [
      [8, "i64.store"],
      [4, "i64.store32"],
      [2, "i64.store16"],
    ] as const) {
      f.get(size).i32(n).op("i32.eq").if();
      f.get(at).ramAddress().get(value).memory(name, 0, 1).op("return").end();
    }
    f.get(at).ramAddress().get(value).memory("i64.store8", 0, 1);
    return f;
  }
  update(): FunctionBuilder {
    const f = this.#start("update");
    this.#fill(f, Access.WRITE, () => f.get(3));
    f.if();
    f.i64(-1).op("return").end();
    this.#hostAddress(f);
    return f;
  }
  loadVector(): FunctionBuilder {
    const f = this.#start("loadVector");
    this.#fill(f, Access.READ, () => f.i32(16));
    f.if();
    this.#returnIfFault(f, false);
    f.get(STATE).get(ENTRY).get(ADDRESS);
    this.#host(f, "readVectorSlow");
    f.else();
    f.get(STATE);
    this.#hostAddress(f);
    f.ramAddress().memory("v128.load", 0, 1).memory("v128.store", Engine.SCRATCH).end();
    return f;
  }
  storeVector(): FunctionBuilder {
    const f = this.#start("storeVector");
    this.#fill(f, Access.WRITE, () => f.i32(16));
    f.if();
    this.#returnIfFault(f, false);
    f.get(STATE).get(ENTRY).get(ADDRESS);
    this.#host(f, "writeVectorSlow");
    f.else();
    this.#hostAddress(f);
    f.ramAddress().get(STATE).memory("v128.load", Engine.SCRATCH).memory("v128.store", 0, 1).end();
    return f;
  }

  /** (state, entry): runs blocks, beginning with that entry if it is not 0, until fuel is out or ATTENTION is set. Hot handlers are cases of
   *  one br_table here, the others functions of the table. */
  run(hot: readonly HotHandler[]): FunctionBuilder {
    const f = new FunctionBuilder(["i32", "i32"], []);
    const outer = f.loop();
    f.get(ENTRY).op("i32.eqz").if();
    this.#lookUp(f, outer);
    f.end();
    const dispatch = f.loop();
    const cold = f.block();
    const labels = hot.map(() => f.block()).toReversed();
    f.get(ENTRY).memory("i32.load16_u", Entry.HANDLER);
    const cases = Array.from({ length: Math.max(0, ...hot.map((h) => h.index)) + 1 }, () => cold);
    hot.forEach((h, i) => (cases[h.index] = labels[i]));
    f.brTable(cases, cold);
    const exits: HandlerExits = {
      next: (g) => g.get(ENTRY).i32(Entry.BYTES).op("i32.add").set(ENTRY).br(dispatch),
      goTo: (g) => g.set(ENTRY).br(dispatch),
      lookUp: (g) => g.i32(0).set(ENTRY).br(outer),
    };
    for (const h of hot) {
      f.end();
      f.reuseLocals(() => h.emit(f, this.#imports, exits));
    }
    f.end();
    f.get(STATE)
      .get(ENTRY)
      .get(ENTRY)
      .memory("i32.load16_u", Entry.HANDLER)
      .callIndirect(this.m.type(...HANDLER_TYPE));
    f.tee(ENTRY).brIf(dispatch).br(outer).end();
    f.end();
    return f;
  }
  /** Returns if there is something else to do; sets ENTRY to the block at RIP. */
  #lookUp(f: FunctionBuilder, again: Label): void {
    const cache = f.local("i32");
    const rip = f.local("i64");
    f.get(STATE)
      .memory("i32.load", Reg.ATTENTION)
      .get(STATE)
      .memory("i32.load", Engine.FUEL)
      .i32(31)
      .op("i32.shr_u")
      .op("i32.or")
      .if();
    f.op("return").end();
    f.get(STATE).memory("i64.load", Reg.RIP).set(rip);
    f.get(STATE).get(rip).i64(-4096).op("i64.and").memory("i64.store", Reg.PAGE_VA);
    pushJumpCacheHit(f, rip, cache);
    f.if("i32");
    pushCachedBlock(f, cache);
    f.else();
    f.get(STATE).call(this.#index("findBlock")).tee(ENTRY).if("i32");
    f.get(ENTRY);
    f.else();
    f.get(STATE);
    this.#host(f, "lookUp");
    f.tee(ENTRY).op("i32.eqz").brIf(again);
    f.get(ENTRY).end().end().set(ENTRY);
    this.#link(f, ENTRY);
  }
  /** Fills the chain field that the last jump left in LINK. */
  #link(f: FunctionBuilder, entry: number): void {
    f.get(STATE).memory("i32.load", Engine.LINK).if();
    f.get(entry).memory("i32.load8_u", Entry.FLAGS).i32(ENTRY_UNCHAINED).op("i32.and").op("i32.eqz").if();
    f.get(STATE).memory("i32.load", Engine.LINK).get(entry).memory("i32.store").end();
    f.get(STATE).i32(0).memory("i32.store", Engine.LINK).end();
  }
}

/** A handler that is written into the run loop. */
export interface HotHandler {
  /** In the handler table. */
  index: number;
  emit(f: FunctionBuilder, imports: Imports, exits: HandlerExits): void;
}

/** The core module's bytes.
 *  @param ramPages size of the frames memory in 64-KiB pages  @param tables GuestRam's, and the executor that the module is for
 *  @param calls imports that hot handlers need besides HOST_FUNCTIONS  @param native for native code, which
 *  knows nothing of PAIR, so that CMPXCHG16B stops the other executors, and looks for a TLB entry at two places */
export function coreModule(
  ramPages: number,
  tables: CodeTables,
  hot: readonly HotHandler[],
  calls: readonly [string, Signature][],
  native = false,
): Uint8Array<ArrayBuffer> {
  const w = new CoreWriter(ramPages, tables.pages, calls);
  w.add("refill", refill(tables, native));
  w.addAddends();
  w.add("findBlock", findBlock(tables));
  w.add("endInFault", w.endInFault());
  w.add("noteTarget", noteTarget());
  w.add("load", w.load());
  w.add("store", w.store());
  w.add("update", w.update());
  w.addLocked(native);
  w.addRuns();
  w.add("loadVector", w.loadVector());
  w.add("storeVector", w.storeVector());
  w.add("run", w.run(hot));
  return w.m.finish();
}
