/* The handler of blocks that have native code, in WebAssembly: (state, entry) → next entry, or 0, as any handler. It goes in, does what native code leaves for, and comes back
 * when the interpreter has its turn. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import { FunctionBuilder, type Label } from "../../wasm/function.ts";
import { ModuleBuilder } from "../../wasm/module.ts";
import { CORE_FUNCTIONS, importMemories } from "../wasm/core.ts";
import { Engine, Entry } from "../wasm/layout.ts";
import { REGION_FUNCTIONS } from "../wasm/translator/region-core.ts";
import { RegionEntry } from "../wasm/translator/region-entry.ts";
import { Info, Left, Native } from "./layout.ts";

const [STATE, ENTRY] = [0, 1];
const PAGE = 4096;
/** MXCSR's masks: with one of them clear an operation may raise #XM. */
const MASKS = 0x1f80;

/** Bits of what LAHF loads, and their places in the word. */
const [SF, ZF, AF, PF, CF] = [7, 6, 4, 2, 0].map((bit) => bit + 8);

/** The lazy pair (isa/flags.ts) to Native.FLAGS. */
function flagsIn(f: FunctionBuilder): void {
  const [result, aux, carry] = [f.local("i64"), f.local("i64"), f.local("i32")];
  const put = (bit: number): void => void f.i32(bit).op("i32.shl").op("i32.or");
  f.get(STATE).memory("i64.load", Reg.FLAG_RESULT).set(result);
  f.get(STATE).memory("i64.load", Reg.FLAG_AUX).set(aux);
  f.get(STATE);
  f.get(aux).i64(63).op("i64.shr_u").op("i32.wrap_i64").tee(carry);
  f.get(aux).i64(62).op("i64.shr_u").op("i32.wrap_i64").i32(1).op("i32.and").op("i32.xor"); // OF
  f.get(carry);
  put(CF);
  f.get(result).op("i64.eqz");
  put(ZF);
  f.get(result)
    .i64(63)
    .op("i64.shr_u")
    .get(aux)
    .i64(1)
    .op("i64.shr_u")
    .op("i64.xor")
    .op("i32.wrap_i64")
    .i32(1)
    .op("i32.and");
  put(SF);
  f.get(result).i64(0xff).op("i64.and").op("i64.popcnt").get(aux).op("i64.xor").op("i32.wrap_i64").i32(1).op("i32.and");
  f.op("i32.eqz");
  put(PF);
  f.get(aux).i64(3).op("i64.shr_u").op("i32.wrap_i64").i32(1).op("i32.and");
  put(AF);
  f.memory("i32.store", Native.FLAGS);
}
/** And back: as packFlags. */
function flagsOut(f: FunctionBuilder): void {
  const [word, zero, carry] = [f.local("i64"), f.local("i64"), f.local("i64")];
  const bit = (n: number): void => void f.get(word).i64(n).op("i64.shr_u").i64(1).op("i64.and");
  f.get(STATE).memory("i64.load16_u", Native.FLAGS).set(word);
  bit(ZF);
  f.set(zero);
  f.get(STATE).get(zero).i64(1).op("i64.xor").memory("i64.store", Reg.FLAG_RESULT);
  bit(CF);
  f.set(carry);
  f.get(STATE);
  f.get(carry).i64(63).op("i64.shl");
  f.get(carry).get(word).i64(1).op("i64.and").op("i64.xor").i64(62).op("i64.shl").op("i64.or");
  bit(AF);
  f.i64(3).op("i64.shl").op("i64.or");
  bit(SF);
  f.i64(1).op("i64.shl").op("i64.or");
  // a result of 1 has odd parity, one of 0 even
  bit(PF);
  f.get(zero).op("i64.xor").op("i64.or");
  f.memory("i64.store", Reg.FLAG_AUX);
}

function size(f: FunctionBuilder, info: number): void {
  f.get(info).i32(Info.SIZE).op("i32.shr_u");
  f.i32(2 ** Info.SIZE_BITS - 1).op("i32.and");
}
/** An access that lies in two pages, and can be done so, needs both in the TLB. Goes on at `again` if they are. */
function refillBoth(f: FunctionBuilder, info: number, refill: number, again: Label): void {
  const [address, first] = [f.local("i64"), f.local("i32")];
  const write = (): void => void f.get(info).i32(Info.WRITE).op("i32.shr_u").i32(1).op("i32.and");
  f.get(STATE).memory("i64.load", Native.ADDRESS).tee(address).op("i32.wrap_i64");
  f.i32(PAGE - 1)
    .op("i32.and")
    .set(first);
  f.i32(PAGE).get(first).op("i32.sub").set(first);
  f.get(info).i32(Info.SPLIT).op("i32.shr_u").i32(1).op("i32.and");
  size(f, info);
  f.get(first).op("i32.gt_u").op("i32.and");
  f.get(STATE).memory("i32.load", Engine.FAULT).op("i32.eqz").op("i32.and");
  // an address that is not canonical comes before a page that is missing
  f.get(address).i64(PAGE).op("i64.add").i64(16).op("i64.shl").i64(16).op("i64.shr_s");
  f.get(address).i64(PAGE).op("i64.add").op("i64.eq").op("i32.and").if();
  f.get(STATE).get(address);
  write();
  f.get(first).call(refill).op("i32.eqz").if();
  f.get(STATE).get(address).get(first).op("i64.extend_i32_u").op("i64.add");
  write();
  size(f, info);
  f.get(first).op("i32.sub").call(refill).op("i32.eqz").brIf(again);
  f.end().end();
}

/** Where an access lies in two pages and the block has no code for that. */
function noteCrossing(f: FunctionBuilder, info: number): void {
  f.get(STATE).memory("i64.load", Native.ADDRESS).op("i32.wrap_i64");
  f.i32(PAGE - 1).op("i32.and");
  size(f, info);
  f.op("i32.add").i32(PAGE).op("i32.gt_u");
  f.get(info)
    .i32(1 << Info.SPLIT)
    .op("i32.and")
    .op("i32.eqz")
    .op("i32.and")
    .if();
  f.get(STATE).get(STATE).memory("i32.load", Native.TARGET).memory("i32.store", Engine.CROSSING).end();
}

function entryFunction(functions: Record<"call" | "refill" | "interpret", number>, context: number): FunctionBuilder {
  const f = new FunctionBuilder(["i32", "i32"], ["i32"]);
  const [why, info] = [f.local("i32"), f.local("i32")];
  f.get(STATE).memory("i32.load", Reg.MXCSR).i32(MASKS).op("i32.and").i32(MASKS).op("i32.ne").likely(false).if();
  f.get(STATE).get(STATE).memory("i64.load", Reg.PAGE_VA).get(ENTRY).memory("i64.load16_u", Entry.OFFSET);
  f.op("i64.add").memory("i64.store", Reg.RIP);
  f.get(STATE).returnCall(functions.interpret).end();
  flagsIn(f);
  f.get(STATE).i32(0).memory("i32.store", Native.X87);
  f.get(STATE).get(ENTRY).memory("i32.load", RegionEntry.LABEL).memory("i32.store", Native.TARGET);
  const again = f.loop();
  f.i32(context).call(functions.call).set(why);
  f.get(why).i32(Left.MISS).op("i32.eq").if();
  f.get(STATE).get(STATE).memory("i64.load", Native.ADDRESS);
  f.get(STATE).memory("i32.load", Native.INFO).tee(info).i32(Info.WRITE).op("i32.shr_u").i32(1).op("i32.and");
  size(f, info);
  f.call(functions.refill).op("i32.eqz").brIf(again);
  refillBoth(f, info, functions.refill, again);
  f.end();
  noteCrossing(f, info);
  f.end();
  flagsOut(f);
  f.get(why).op("i32.eqz").if();
  f.i32(0).op("return").end();
  f.get(why).i32(Left.ENTRY).op("i32.eq").if();
  f.get(STATE).memory("i32.load", Native.ENTRY).op("return").end();
  f.get(why).i32(Left.INTERPRET).op("i32.eq").if();
  f.get(STATE).i32(0).memory("i32.store", Engine.FAULT).end();
  f.get(STATE).memory("i32.load", Native.INFO).set(info);
  f.get(STATE).get(STATE).memory("i64.load", Reg.PAGE_VA);
  f.get(info)
    .i32(2 ** Info.OFFSET_BITS - 1)
    .op("i32.and")
    .op("i64.extend_i32_u")
    .op("i64.add")
    .memory("i64.store", Reg.RIP);
  f.get(STATE).get(STATE).memory("i32.load", Engine.FUEL);
  f.get(info).i32(Info.AHEAD).op("i32.shr_u");
  f.i32(2 ** Info.AHEAD_BITS - 1)
    .op("i32.and")
    .op("i32.add")
    .memory("i32.store", Engine.FUEL);
  f.get(STATE).returnCall(functions.interpret);
  return f;
}

/** The module's bytes; it exports "native". @param ramPages size of the frames memory in 64-KiB pages  @param context host address of the Context */
export function entryModule(ramPages: number, context: number): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  const functions = {
    call: m.importFunction("host", "call", ["i32"], ["i32"]),
    refill: m.importFunction("host", "refill", ...CORE_FUNCTIONS.refill),
    interpret: m.importFunction("host", "interpret", ...REGION_FUNCTIONS.interpret),
  };
  importMemories(m, ramPages);
  m.export("native", m.add(entryFunction(functions, context)));
  return m.finish();
}
