/* Functions that all regions of an engine share, in a module of their own: the way from one region to the next, and the lazy flags from a region's.
 * Exported by name; regions import them beside the host's. @source docs/translator.md */
import { Reg } from "../../../isa/registers.ts";
import type { FpOp, Size } from "../../../isa/sem.ts";
import { FunctionBuilder, type Local } from "../../../wasm/function.ts";
import { ModuleBuilder } from "../../../wasm/module.ts";
import { HOST_FUNCTIONS, importMemories, type Signature } from "../core.ts";
import { EmitFlags, STATE } from "../emit-flags.ts";
import { EmitVectors } from "../emit-vectors.ts";
import type { Value } from "../emit-values.ts";
import { pushCachedBlock, pushJumpCacheHit } from "../jump-cache.ts";
import { PSEUDO } from "../handlers.ts";
import { Engine, Entry, LANDINGS, LANDINGS_FROM_TABLE, REGION_HANDLERS } from "../layout.ts";
import { GENERAL_OPS, generalName } from "./region-float.ts";
import { DERIVED, derivedResult, FlagsCode, FlagsKind, flagsKindOf, Over } from "./flags-code.ts";
import { orderFlags } from "./region-flags.ts";
import { RegionEntry, RegionRecord } from "./region-entry.ts";

/** Imports of regions besides HOST_FUNCTIONS. */
export const REGION_FUNCTIONS = {
  /** (state, what the jump cache has for RIP if that is known, else 0, the region's entry if it might have gone on here, else 0)
   *  → next entry, or 0: RIP has changed, as a handler's end. */
  leave: [["i32", "i32", "i32"], ["i32"]],
  /** (state) → next entry, or 0: the instruction at RIP has changed nothing; it ends in the #PF that was noted, or is the interpreter's. */
  interpret: [["i32"], ["i32"]],
  /** (state): flags that a region left are the lazy pair, as the interpreter wants them. */
  settleFlags: [["i32"], []],
  /** (fk, fa, fb, fr, fx): the two words of the lazy pair. */
  flagsResult: [["i32", "i64", "i64", "i64", "i64"], ["i64"]],
  flagsAux: [["i32", "i64", "i64", "i64", "i64"], ["i64"]],
} as const satisfies Record<string, Signature>;

/** Floating-point operations on bits, with all cases; flags are gathered (region-float.ts). */
const GENERAL: [string, Signature][] = GENERAL_OPS.flatMap((op) =>
  ([4, 8] as const).map((width): [string, Signature] => [generalName(op, width), [["i32", "i64", "i64"], ["i64"]]]),
);
export const GENERAL_FUNCTIONS: Record<string, Signature> = Object.fromEntries(GENERAL);

/** Host functions that only regions import. */
export const REGION_HOST_FUNCTIONS = {
  /** (state) → entry of a block that the interpreter runs, at RIP. */
  resume: [["i32"], ["i32"]],
  /** (state, entry) → 0: the region's pages are mapped as it was translated. */
  validate: [["i32", "i32"], ["i32"]],
  /** (state): regions were often left for code at RIP that is none. */
  landed: [["i32"], []],
  /** (state, entry): a region was often left for code that might be a part of it. */
  outgrown: [["i32", "i32"], []],
  /** (state) → 0: the gathered flags are sticky now; 1: they raise #XM, nothing was changed. */
  fpCommit: [["i32"], ["i32"]],
} as const satisfies Record<string, Signature>;

/** So often a region is left for a block before that is looked at. Each time costs a look-up and what the interpreter does until the next region. */
const HOT_LANDINGS = 10_000;
const [FK, FA, FB, FR, FX] = [0, 1, 2, 3, 4];
const KINDS = 4 * Object.keys(FlagsKind).length;
const [BIT_63, BIT_62] = [1n << 63n, 1n << 62n];
const SOFT_ARITHMETIC = "fpArithmeticLane";

/** Writes the lazy pair of one kind, and keeps one of its words. */
class PairWriter extends EmitFlags {
  size: Size = 8;
  readonly #wanted: number;
  #old: Value | undefined;

  constructor(f: FunctionBuilder, wanted: number) {
    super(f);
    this.#wanted = wanted;
  }
  override field(offset: number): Value {
    return offset === Reg.FLAG_AUX && this.#old ? this.#old : this.const(0);
  }
  override setField(offset: number, _size: 4 | 8, v: Value): void {
    if (offset === Reg.FLAG_AUX) this.#old = v;
    if (offset !== this.#wanted) return;
    this.push(v);
    this.f.op("return");
  }
  #parameter(local: number): Value {
    return { type: "i64", local };
  }
  write(code: number): void {
    const { kind, size } = flagsKindOf(code);
    const [a, b, r] = [FA, FB, FR].map((local) => this.#parameter(local));
    const one = this.const(1);
    if (kind === FlagsKind.PAIR) this.setField(this.#wanted, 8, this.#wanted === Reg.FLAG_RESULT ? a : b);
    else if (kind === FlagsKind.LOGIC) this.flags("logic", a, a, a, size);
    else if (kind === FlagsKind.ADD) this.flags("add", a, b, this.add(a, b), size);
    else if (kind === FlagsKind.SUB) this.flags("sub", a, b, this.sub(a, b), size);
    else if (kind === FlagsKind.ORDER) this.writeFlags(orderFlags(this, a));
    else if (kind === FlagsKind.ADC) this.flags("add", a, b, r, size);
    else if (kind === FlagsKind.SBB) this.flags("sub", a, b, r, size);
    else if (kind in DERIVED) this.flags(DERIVED[kind], a, b, derivedResult(this, DERIVED[kind], a, b, size), size);
    else {
      // CF is the one before: as bit 63 of an old aux, which INC and DEC keep
      this.#old = this.shl(b, this.const(63));
      if (kind === FlagsKind.INC) this.flags("inc", a, one, this.add(a, one), size);
      else this.flags("dec", a, one, this.sub(a, one), size);
    }
  }
}

/** By kind; what is over it is left out. */
function pairFunction(wanted: number): FunctionBuilder {
  const f = new FunctionBuilder(...REGION_FUNCTIONS.flagsResult);
  const labels = Array.from({ length: KINDS }, () => f.block()).toReversed();
  f.get(FK).i32(FlagsCode.KIND).op("i32.and").brTable(labels, labels[0]);
  for (let code = 0; code < KINDS; code++) {
    f.end();
    f.reuseLocals(() => new PairWriter(f, wanted).write(code));
  }
  f.op("unreachable");
  return f;
}

/** Bits 63 and 62 of aux are CF and CF ^ OF. */
function auxFunction(byKind: number): FunctionBuilder {
  const f = new FunctionBuilder(...REGION_FUNCTIONS.flagsAux);
  const [aux, over, size, top, below] = [
    f.local("i64"),
    f.local("i32"),
    f.local("i64"),
    f.local("i64"),
    f.local("i64"),
  ];
  for (const local of [FK, FA, FB, FR, FX]) f.get(local);
  f.call(byKind).set(aux);
  f.get(FK).i32(Math.log2(FlagsCode.OVER)).op("i32.shr_u").i32(3).op("i32.and").tee(over).op("i32.eqz").if();
  f.get(aux).op("return").end();
  f.get(over).i32(Over.CARRY).op("i32.eq").if();
  // CF is another, OF stays: both bits change
  f.get(aux).get(aux).get(FX).i64(63).op("i64.shl").op("i64.xor").i64(BIT_63).op("i64.and").tee(top);
  f.get(top).i64(1).op("i64.shr_u").op("i64.or").op("i64.xor").op("return").end();
  f.i64(8).get(FK).i32(Math.log2(FlagsCode.OVER_SIZE)).op("i32.shr_u").op("i64.extend_i32_u").op("i64.shl").set(size);
  const bit = (from: number, to: Local): void =>
    void f.get(FX).get(size).i64(from).op("i64.sub").op("i64.shr_u").i64(1).op("i64.and").set(to);
  bit(1, top);
  bit(2, below);
  // a rotation to the left: CF is bit 0, CF ^ OF the top bit; to the right: the top bit, and the one below
  f.get(aux)
    .i64(~(BIT_63 | BIT_62))
    .op("i64.and");
  const isLeft = (): FunctionBuilder => f.get(over).i32(Over.LEFT).op("i32.eq");
  f.get(FX).get(top);
  isLeft().op("select").i64(63).op("i64.shl").op("i64.or");
  f.get(top).get(below);
  isLeft().op("select").i64(62).op("i64.shl").op("i64.or");
  return f;
}

/** All cases of an operation: what EmitVectors makes of it. */
class GeneralWriter extends EmitVectors {
  size: Size = 8;
  readonly lock = false;
  protected override restart(): void {} // nothing here is LOCKed
  protected override deliverFault(): void {} // nor touches memory
  write(op: FpOp, width: 4 | 8): void {
    const [a, b]: Value[] = [1, 2].map((local) => ({ type: "i64", local }));
    this.push(this.fp(op, width, a, b));
  }
  protected override softFloat(name: string, pushArguments: () => void): void {
    this.f.get(STATE).i32(0);
    pushArguments();
    this.f.call(this.imports.function(`${name}Lane`));
  }
}

function settleFunction(result: number, aux: number): FunctionBuilder {
  const f = new FunctionBuilder(["i32"], []);
  const pushWords = (): void => {
    f.get(STATE).memory("i32.load", Engine.FLAG_KIND).get(STATE).memory("i64.load", Reg.FLAG_RESULT);
    f.get(STATE).memory("i64.load", Reg.FLAG_AUX).get(STATE).memory("i64.load", Engine.FLAG_THIRD);
    f.get(STATE).memory("i64.load", Engine.FLAG_FOURTH);
  };
  const pair = f.local("i64");
  f.get(STATE).memory("i32.load", Engine.FLAG_KIND).if();
  pushWords();
  f.call(result).set(pair);
  f.get(STATE);
  pushWords();
  f.call(aux).memory("i64.store", Reg.FLAG_AUX);
  f.get(STATE).get(pair).memory("i64.store", Reg.FLAG_RESULT);
  f.get(STATE).i32(0).memory("i32.store", Engine.FLAG_KIND).end();
  return f;
}

/** Translated code was left for code that is none: code that goes on in this way often is hot. @param at i32 local that is written */
function countLanding(f: FunctionBuilder, entry: number, at: number, landed: number): void {
  f.get(entry).i32(Math.log2(Entry.BYTES)).op("i32.shr_u");
  f.i32(LANDINGS - 1)
    .op("i32.and")
    .i32(2)
    .op("i32.shl");
  f.get(STATE).memory("i32.load", Engine.BLOCK_TABLE).op("i32.add").tee(at);
  f.get(at).memory("i32.load", LANDINGS_FROM_TABLE).i32(1).op("i32.add").memory("i32.store", LANDINGS_FROM_TABLE);
  f.get(at).memory("i32.load", LANDINGS_FROM_TABLE).i32(HOT_LANDINGS).op("i32.ge_u").likely(false).if();
  f.get(at).i32(0).memory("i32.store", LANDINGS_FROM_TABLE);
  f.get(STATE).call(landed).end();
}

/** A region was left where it might go on. @param left its entry  @param at i32 local that is written */
function countExit(f: FunctionBuilder, left: number, at: number, outgrown: number): void {
  f.get(left).memory("i32.load", RegionEntry.RECORD).tee(at);
  f.get(at).memory("i32.load", RegionRecord.EXITS).i32(1).op("i32.add").memory("i32.store", RegionRecord.EXITS);
  f.get(at).memory("i32.load", RegionRecord.EXITS).op("i32.eqz").likely(false).if();
  f.get(STATE).get(left).call(outgrown).end();
}

/** Looks RIP up in the jump cache, and goes on there at once if that is a region. */
function leaveFunction(m: ModuleBuilder, settle: number, landed: number, outgrown: number): FunctionBuilder {
  const f = new FunctionBuilder(["i32", "i32", "i32"], ["i32"]);
  const [entry, left] = [1, 2];
  const [rip, cache, handler] = [f.local("i64"), f.local("i32"), f.local("i32")];
  const nothing = (): void => void f.get(STATE).call(settle).i32(0).op("return").end();
  f.get(STATE).memory("i32.load", Reg.ATTENTION).get(STATE).memory("i32.load", Engine.FUEL).i32(31).op("i32.shr_u");
  f.op("i32.or").likely(false).if();
  nothing();
  f.get(left).if();
  countExit(f, left, cache, outgrown);
  f.end();
  f.get(STATE).memory("i64.load", Reg.RIP).set(rip);
  f.get(entry).op("i32.eqz").if();
  pushJumpCacheHit(f, rip, cache);
  f.op("i32.eqz").likely(false).if();
  nothing();
  pushCachedBlock(f, cache);
  f.set(entry).end();
  f.get(STATE).get(rip).i64(-4096).op("i64.and").memory("i64.store", Reg.PAGE_VA);
  f.get(entry).memory("i32.load16_u", Entry.HANDLER).tee(handler).i32(REGION_HANDLERS).op("i32.lt_u");
  f.likely(false).if();
  f.get(STATE).call(settle);
  countLanding(f, entry, cache, landed);
  f.get(entry).op("return").end();
  f.get(STATE)
    .get(entry)
    .get(handler)
    .returnCallIndirect(m.type(["i32", "i32"], ["i32"]));
  return f;
}

/** What a side exit comes to. The block at RIP, if it is the interpreter's, is in the jump cache like any other; that in place of a region is noted in the region's entry. */
function interpretFunction(settle: number, pageFault: number, resume: number): FunctionBuilder {
  const f = new FunctionBuilder(["i32"], ["i32"]);
  const [rip, cache, entry] = [f.local("i64"), f.local("i32"), f.local("i32")];
  f.get(STATE).call(settle);
  f.get(STATE).memory("i32.load", Engine.FAULT).if();
  f.get(STATE).call(pageFault).i32(0).op("return").end();
  f.get(STATE).memory("i32.load", Engine.CROSSING).if();
  f.get(STATE).returnCall(resume).end();
  f.get(STATE).memory("i64.load", Reg.RIP).set(rip);
  pushJumpCacheHit(f, rip, cache);
  f.if();
  pushCachedBlock(f, cache);
  f.tee(entry).memory("i32.load16_u", Entry.HANDLER).i32(REGION_HANDLERS).op("i32.ge_u").if();
  f.get(entry).memory("i32.load", RegionEntry.PLAIN).set(entry).end();
  // a block that was dropped looks RIP up, which would find the region again
  f.get(entry).memory("i32.load16_u", Entry.HANDLER).i32(PSEUDO.LOOK_UP_AGAIN).op("i32.ne");
  f.get(entry).i32(0).op("i32.ne").op("i32.and").if();
  f.get(STATE).get(rip).i64(-4096).op("i64.and").memory("i64.store", Reg.PAGE_VA);
  f.get(entry).op("return").end().end();
  f.get(STATE).returnCall(resume);
  return f;
}

/** The module's bytes. @param ramPages size of the frames memory in 64-KiB pages */
export function regionCoreModule(ramPages: number): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  const lane = m.importFunction("host", SOFT_ARITHMETIC, ...HOST_FUNCTIONS[SOFT_ARITHMETIC]);
  const pageFault = m.importFunction("host", "pageFault", ...HOST_FUNCTIONS.pageFault);
  const resume = m.importFunction("host", "resume", ...REGION_HOST_FUNCTIONS.resume);
  const landed = m.importFunction("host", "landed", ...REGION_HOST_FUNCTIONS.landed);
  const outgrown = m.importFunction("host", "outgrown", ...REGION_HOST_FUNCTIONS.outgrown);
  importMemories(m, ramPages);
  m.importTable("mere", "handlers", 1);
  const add = (name: string, f: FunctionBuilder): number => {
    const index = m.add(f);
    m.export(name, index);
    return index;
  };
  const result = add("flagsResult", pairFunction(Reg.FLAG_RESULT));
  const aux = add("flagsAux", auxFunction(m.add(pairFunction(Reg.FLAG_AUX))));
  const settle = add("settleFlags", settleFunction(result, aux));
  add("leave", leaveFunction(m, settle, landed, outgrown));
  add("interpret", interpretFunction(settle, pageFault, resume));
  for (const op of GENERAL_OPS) {
    for (const width of [4, 8] as const) {
      const f = new FunctionBuilder(["i32", "i64", "i64"], ["i64"]);
      new GeneralWriter(f, { function: () => lane }).write(op, width);
      add(generalName(op, width), f);
    }
  }
  return m.finish();
}
