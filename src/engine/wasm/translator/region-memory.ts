/* Third layer of the translator's Sem<V>: guest memory. The TLB probe is inline; a miss calls `refill`, which walks the page tables without knowing the guest's
 * registers; what that cannot do (faults, devices, pages with code, accesses across pages) is a side exit. */
import type { Pair, Size } from "../../../isa/sem.ts";
import type { Local } from "../../../wasm/function.ts";
import type { ValueTypeName } from "../../../wasm/opcodes.ts";
import { STATE } from "../emit-flags.ts";
import { ENTRY } from "../emit-memory.ts";
import type { Value } from "../emit-values.ts";
import { Access } from "../core.ts";
import { NO_ADDEND } from "../refill.ts";
import { Engine, Tlb, TLB_ENTRIES, TLB_ENTRY_BYTES } from "../layout.ts";
import { pushIsInPair } from "../locked.ts";
import { frameKey, isSmallStep, operandKey, type PageKey, type PageReuse, stackKey, usesStack } from "./page-reuse.ts";
import type { StackUse } from "./stack-spans.ts";
import { RegionFlags } from "./region-flags.ts";
import { Unsupported, type KnownValue } from "./region-state.ts";

const PAGE = 4096;
const RSP = 4;
/** Stands for no page. One compare cannot refuse all addresses: this page is not canonical, and no guest can know it or find it by trying. With its addend, an access
 *  there would end in frame 0, which is nobody's. */
let noPage: bigint | undefined;
function chooseNoPage(): bigint {
  return (1n << 62n) | (crypto.getRandomValues(new BigUint64Array(1))[0] & 0x3fff_ffff_ffff_f000n);
}
const SIGNED_LOADS: Record<Size, string> = { 1: "i64.load8_s", 2: "i64.load16_s", 4: "i64.load32_s", 8: "i64.load" };
const LOADS: Record<Size, string> = { 1: "i64.load8_u", 2: "i64.load16_u", 4: "i64.load32_u", 8: "i64.load" };
const STORES: Record<Size, string> = { 1: "i64.store8", 2: "i64.store16", 4: "i64.store32", 8: "i64.store" };
const ATOMIC_LOADS: Record<Size, string> = {
  1: "i64.atomic.load8_u",
  2: "i64.atomic.load16_u",
  4: "i64.atomic.load32_u",
  8: "i64.atomic.load",
};
const EXCHANGES: Record<Size, string> = {
  1: "i64.atomic.rmw8.cmpxchg_u",
  2: "i64.atomic.rmw16.cmpxchg_u",
  4: "i64.atomic.rmw32.cmpxchg_u",
  8: "i64.atomic.rmw.cmpxchg",
};
const LOG: Record<Size, number> = { 1: 0, 2: 1, 4: 2, 8: 3 };

export abstract class RegionMemory extends RegionFlags {
  lock = false;
  /** Beginning of a LOCKed instruction, for a compare-and-swap that failed. */
  protected retry = 0;
  /** What a LOCKed read-modify-write read. */
  #read: Value | undefined;

  get #atomic(): boolean {
    return this.lock && this.options.parallel;
  }

  #inLocal(v: Value): Local {
    if (v.constant === undefined && v.type === "i64") return v.local;
    this.push(v);
    return this.keep("i64").local;
  }
  // ——— pages at hand (page-reuse.ts) ———
  /** Numbers of keys, and bits of those whose page is likely that of the next access. Set for each node. */
  pageReuse: PageReuse | undefined;
  likelyPages = 0;
  /** Locals by number of key: page and addend for reads, the same for writes. */
  readonly pageLocals: { page: Local; addend: Local }[][] = [];

  /** Key by which an address of the current instruction goes; −1 none. */
  #keyOf(address: Value): PageKey {
    if (this.isOperandAddress(address)) return operandKey(this.d);
    if (usesStack(this.d)) return stackKey;
    return this.d.row.mnemonic === "leave" ? frameKey : -1;
  }
  protected abstract isOperandAddress(address: Value): boolean;
  #pageLocals(key: number, access: number): { page: Local; addend: Local } {
    const list = (this.pageLocals[key] ??= []);
    return (list[access] ??= { page: this.f.lasting("i64"), addend: this.f.lasting(this.#hostType) });
  }
  /** The region has that pass. */
  stackSpans = false;
  /** There was an instruction that made pages at hand invalid. */
  hasForgotten = false;
  /** Rights have changed: no page is at hand. */
  protected forgetPages(): void {
    this.likelyPages = 0;
    const keys = [...(this.pageReuse?.keys.values() ?? [])];
    this.#setNoPages(keys.flatMap((key) => [Access.READ, Access.WRITE].map((access) => this.#pageLocals(key, access))));
    if (this.stackSpans) this.#setNoPages([this.#stretchLocals()]);
    this.hasForgotten = true;
  }
  #setNoPages(all: readonly { page: Local; addend: Local }[]): void {
    if (all.length === 0) return;
    noPage ??= chooseNoPage();
    this.f.i64(noPage);
    for (const { page } of all) this.f.tee(page);
    this.f.op("drop");
    if (this.wideRam) this.f.i64(-noPage);
    else this.f.i32(Number(BigInt.asIntN(32, -noPage)));
    for (const { addend } of all) this.f.tee(addend);
    this.f.op("drop");
  }
  /** Written where the region begins. */
  startPages(): void {
    this.#setNoPages([...this.pageLocals.flat(), ...(this.#stretch ? [this.#stretch] : [])]);
  }
  /** A register has a new value. */
  protected registerChanged(register: number): void {
    if (this.pageReuse && !isSmallStep(this.d, register)) this.likelyPages &= ~this.pageReuse.killedBy(1 << register);
  }

  get #hostType(): "i32" | "i64" {
    return this.wideRam ? "i64" : "i32";
  }
  /** The i64 on the stack as an address or addend of the frames memory. */
  #narrow(): void {
    if (!this.wideRam) this.f.op("i32.wrap_i64");
  }
  /** Makes sure that the access is in the TLB, or leaves. @returns the address in the frames memory, as wide as that takes */
  #host(address: Value, size: number, access: number): Value {
    const { f } = this;
    const at = this.#inLocal(address);
    const key = this.#keyOf(address);
    const number = this.pageReuse?.keys.get(key) ?? -1;
    let addend: Local;
    if (key === stackKey && this.#isChecked(address, size)) addend = this.#stretchLocals().addend;
    else if (number < 0) this.#probe(at, size, access, (addend = f.local(this.#hostType)));
    else {
      this.#probeKnown(at, size, access, number);
      addend = this.#pageLocals(number, access).addend;
    }
    f.get(at);
    this.#narrow();
    f.get(addend).op(this.wideRam ? "i64.add" : "i32.add");
    return this.keep(this.#hostType);
  }
  // ——— the stretch of the stack that was checked (stack-spans.ts) ———
  /** Set for each instruction. */
  stackUse: StackUse | undefined;
  #stretch: { page: Local; addend: Local } | undefined;

  #stretchLocals(): { page: Local; addend: Local } {
    return (this.#stretch ??= { page: this.f.lasting("i64"), addend: this.f.lasting(this.#hostType) });
  }
  /** Is an access through RSP one that the instruction was said to make? */
  #isChecked(address: Value, size: number): boolean {
    const own = this.stackUse?.own;
    if (own === undefined) return false;
    if (this.isOperandAddress(address)) return own.low <= this.d.disp && this.d.disp + size <= own.high;
    return own.low <= -size || own.high >= size;
  }
  /** Written where an instruction begins: makes sure of the page, or leaves. */
  protected checkStretch(): void {
    const check = this.stackUse?.check;
    if (check === undefined) return;
    const { f } = this;
    const { page, addend } = this.#stretchLocals();
    const at = f.local("i64");
    f.get(this.useGpr(RSP)).i64(check.low).op("i64.add").tee(at).get(page).op("i64.sub");
    f.i64(PAGE - (check.high - check.low))
      .op("i64.gt_u")
      .likely(false)
      .if();
    f.get(STATE)
      .get(ENTRY)
      .get(at)
      .i32(check.high - check.low)
      .call(this.imports.function("stretchAddend"));
    this.#keepAddend(addend);
    f.get(at).i64(-PAGE).op("i64.and").set(page).end();
  }
  /** The addend on the stack goes into a local; a side exit where there is none. */
  #keepAddend(addend: Local): void {
    const { f } = this;
    this.#narrow();
    f.tee(addend);
    if (this.wideRam) f.op("i32.wrap_i64");
    f.i32(NO_ADDEND).op("i32.and");
    this.sideExitIf();
  }

  #pushHost(host: Value): void {
    this.f.get(host.local);
  }
  #probeKnown(at: Local, size: number, access: number, key: number): void {
    const { f } = this;
    const bit = 1 << key;
    const known = this.#pageLocals(key, access);
    const likely = (this.likelyPages & bit) !== 0;
    this.likelyPages |= bit;
    if (likely) {
      // the whole access lies in the page: also false where it begins in the page before
      f.get(at)
        .get(known.page)
        .op("i64.sub")
        .i64(PAGE - size)
        .op("i64.gt_u")
        .likely(false)
        .if();
      this.#callProbe(at, size, access, known.addend);
      f.get(at).i64(-PAGE).op("i64.and").set(known.page);
    } else f.get(this.#probe(at, size, access, known.addend)).set(known.page);
    if (access === Access.WRITE) {
      const read = this.#pageLocals(key, Access.READ);
      f.get(known.page).set(read.page).get(known.addend).set(read.addend);
    }
    if (likely) f.end();
  }
  #callProbe(at: Local, size: number, access: number, addend: Local): void {
    const { f } = this;
    f.get(STATE).get(at).i32(access).i32(size).call(this.imports.function("pageAddend"));
    this.#keepAddend(addend);
  }
  /** Finds the page in the TLB; the entry's addend goes into a local. @returns local of the page */
  #probe(at: Local, size: number, access: number, addend: Local): Local {
    const { f } = this;
    const [page, entry] = [f.local("i64"), f.local("i32")];
    f.get(at).i64(7).op("i64.shr_u").op("i32.wrap_i64");
    f.i32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES).op("i32.and");
    f.get(this.tlb).op("i32.add").tee(entry);
    f.memory("i64.load", access === Access.WRITE ? Tlb.WRITE : Tlb.READ);
    // an access that runs into the next page compares with that page's address, which another entry has
    f.get(at);
    if (size > 1) f.i64(size - 1).op("i64.add");
    f.i64(-PAGE).op("i64.and").tee(page).op("i64.ne").likely(false).if();
    f.get(STATE).get(at).i32(access).i32(size).call(this.imports.function("refill"));
    this.sideExitIf();
    f.end();
    f.get(entry)
      .memory(this.wideRam ? "i64.load" : "i32.load", Tlb.ADDEND)
      .set(addend);
    return page;
  }

  override load(address: Value, size: Size): Value {
    this.#pushHost(this.#host(address, size, Access.READ));
    this.f.memory(LOADS[size], 0, 1);
    return this.#loaded(size);
  }
  /** As load, by another wasm instruction. */
  protected loadAs(address: Value, size: number, name: string, type: ValueTypeName): Value {
    this.#pushHost(this.#host(address, size, Access.READ));
    this.f.memory(name, 0, 1);
    return this.keep(type);
  }
  /** As load, but sign-extended. */
  protected loadSigned(address: Value, size: Size): Value {
    this.#pushHost(this.#host(address, size, Access.READ));
    this.f.memory(SIGNED_LOADS[size], 0, 1);
    return this.keep("i64");
  }
  #loaded(size: Size): KnownValue {
    return Object.assign(this.keep("i64"), { bits: 8 * size });
  }
  override store(address: Value, size: Size, v: Value): void {
    if (this.#atomic) throw new Unsupported("a locked store that is no operand");
    this.#pushHost(this.#host(address, size, Access.WRITE));
    if (v.type === "f64" || v.type === "f32") this.f.get(v.local).memory(`${v.type}.store`, 0, 1);
    else {
      this.push(v);
      this.f.memory(STORES[size], 0, 1);
    }
    this.memoryEffects++;
  }
  protected override hostForUpdate(address: Value, size: number): Value {
    if (this.#atomic && size > 1) {
      this.push32(address);
      this.f.i32(size - 1).op("i32.and");
      this.sideExitIf();
    }
    return this.#host(address, size, Access.WRITE);
  }
  protected override loadForUpdate(host: Value, _address: Value, size: Size): Value {
    this.#pushHost(host);
    if (this.#atomic) this.f.memory(ATOMIC_LOADS[size], 0, 1, LOG[size]);
    else this.f.memory(LOADS[size], 0, 1);
    return (this.#read = this.#loaded(size));
  }
  protected override storeUpdated(host: Value, _address: Value, size: Size, v: Value): void {
    if (this.#atomic) {
      this.push(host);
      pushIsInPair(this.f);
      this.f.likely(false).brIf(this.retry);
    }
    this.#pushHost(host);
    if (this.#atomic) {
      this.push(this.#read!);
      this.push(this.zext(v, size));
      this.f.memory(EXCHANGES[size], 0, 1, LOG[size]);
      this.push(this.#read!);
      this.f.op("i64.ne").likely(false).brIf(this.retry);
    } else {
      this.push(v);
      this.f.memory(STORES[size], 0, 1);
    }
    this.memoryEffects++;
  }
  protected override restart(): void {
    this.f.br(this.retry);
  }
  override exchangePair(
    address: Value,
    expected: Pair<Value>,
    replacement: Pair<Value>,
  ): Pair<Value> & { equal: Value } {
    const host = this.#host(address, 16, Access.WRITE);
    return this.#atomic
      ? this.#exchangePairLocked(address, host, expected, replacement)
      : this.#exchangePairAlone(host, expected, replacement);
  }
  #exchangePairAlone(host: Value, expected: Pair<Value>, replacement: Pair<Value>): Pair<Value> & { equal: Value } {
    const half = (at: number): Value => {
      this.#pushHost(host);
      this.f.memory("i64.load", at, 1);
      return this.keep("i64");
    };
    const [low, high] = [half(0), half(8)];
    const equal = this.and(this.eq(low, expected.low), this.eq(high, expected.high));
    this.pushCondition(equal);
    this.f.if();
    this.#pushHost(host);
    this.push(replacement.low);
    this.f.memory("i64.store", 0, 1);
    this.#pushHost(host);
    this.push(replacement.high);
    this.f.memory("i64.store", 8, 1).end();
    this.memoryEffects++;
    return { equal, low, high };
  }
  #exchangePairLocked(
    address: Value,
    host: Value,
    expected: Pair<Value>,
    replacement: Pair<Value>,
  ): Pair<Value> & { equal: Value } {
    this.f.get(STATE).i32(0);
    this.push(address);
    this.push(host);
    for (const value of [expected.low, expected.high, replacement.low, replacement.high]) this.push(value);
    this.f.call(this.imports.function("exchangePair"));
    const equal = this.keep("i32");
    this.memoryEffects++;
    const [low, high] = [this.field(Engine.SCRATCH, 8), this.field(Engine.SCRATCH + 8, 8)];
    return { equal, low, high };
  }

  override loadVector(address: Value): Value {
    this.#pushHost(this.#host(address, 16, Access.READ));
    this.f.memory("v128.load", 0, 1);
    return this.keep("v128");
  }
  override storeVector(address: Value, v: Value): void {
    this.#pushHost(this.#host(address, 16, Access.WRITE));
    this.pushV128(v);
    this.f.memory("v128.store", 0, 1);
    this.memoryEffects++;
  }
  override probeWrite(address: Value, size: number): void {
    this.#host(address, size, Access.WRITE);
  }

  // ——— soft floating point: its flags are gathered always, so that it raises nothing ———
  protected override softFloat(name: string, pushArguments: () => void, gathers: boolean): void {
    this.f.get(STATE).i32(0);
    pushArguments();
    this.f.call(this.imports.function(`${name}Lane`));
    if (!gathers) this.raiseGathered();
  }
  /** Flags that raise #XM are the interpreter's. */
  protected override raiseGathered(): void {
    this.f.get(STATE).memory("i32.load", Engine.FP_FLAGS).likely(false).if();
    this.f.get(STATE).call(this.imports.function("fpCommit"));
    this.sideExitIf();
    this.f.end();
  }
}
