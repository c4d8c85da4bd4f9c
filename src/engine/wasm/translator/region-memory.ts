/* Third layer of the translator's Sem<V>: guest memory. The TLB probe is inline; a miss calls `refill`, which walks the page tables without knowing the guest's
 * registers; what that cannot do (faults, devices, pages with code, accesses across pages) is a side exit. */
import type { Size } from "../../../isa/sem.ts";
import type { Local } from "../../../wasm/function.ts";
import { STATE } from "../emit-flags.ts";
import type { Value } from "../emit-values.ts";
import { Access } from "../core.ts";
import { Engine, Tlb, TLB_ENTRIES, TLB_ENTRY_BYTES } from "../layout.ts";
import { RegionFlags } from "./region-flags.ts";
import { Unsupported, type KnownValue } from "./region-state.ts";

const PAGE_MASK = -4096n;
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
  /** Makes sure that the access is in the TLB, or leaves. @returns local of the address in the frames memory */
  #host(address: Value, size: number, access: number): Local {
    const { f } = this;
    const at = this.#inLocal(address);
    const entry = f.local("i32");
    f.get(at).i64(7).op("i64.shr_u").op("i32.wrap_i64");
    f.i32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES).op("i32.and");
    f.get(this.tlb).op("i32.add").tee(entry);
    f.memory("i64.load", access === Access.WRITE ? Tlb.WRITE : Tlb.READ);
    f.get(at);
    if (size > 1) f.i64(size - 1).op("i64.add");
    f.i64(PAGE_MASK).op("i64.and").op("i64.ne").likely(false).if();
    f.get(STATE).get(at).i32(access).i32(size).call(this.imports.function("refill"));
    this.sideExitIf();
    f.end();
    f.get(at).get(entry).memory("i64.load", Tlb.ADDEND).op("i64.add");
    return this.keep("i64").local;
  }

  override load(address: Value, size: Size): Value {
    this.f.get(this.#host(address, size, Access.READ)).memory(LOADS[size], 0, 1);
    return this.#loaded(size);
  }
  #loaded(size: Size): KnownValue {
    return Object.assign(this.keep("i64"), { bits: 8 * size });
  }
  override store(address: Value, size: Size, v: Value): void {
    if (this.#atomic) throw new Unsupported("a locked store that is no operand");
    const host = this.#host(address, size, Access.WRITE);
    this.f.get(host);
    this.push(v);
    this.f.memory(STORES[size], 0, 1);
    this.memoryEffects++;
  }
  protected override hostForUpdate(address: Value, size: number): Value {
    if (this.#atomic && size > 1) {
      this.push32(address);
      this.f.i32(size - 1).op("i32.and");
      this.sideExitIf();
    }
    return { type: "i64", local: this.#host(address, size, Access.WRITE) };
  }
  protected override loadForUpdate(host: Value, _address: Value, size: Size): Value {
    this.push(host);
    if (this.#atomic) this.f.memory(ATOMIC_LOADS[size], 0, 1, LOG[size]);
    else this.f.memory(LOADS[size], 0, 1);
    return (this.#read = this.#loaded(size));
  }
  protected override storeUpdated(host: Value, _address: Value, size: Size, v: Value): void {
    this.push(host);
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
  override loadVector(address: Value): Value {
    this.f.get(this.#host(address, 16, Access.READ)).memory("v128.load", 0, 1);
    return this.keep("v128");
  }
  override storeVector(address: Value, v: Value): void {
    this.f.get(this.#host(address, 16, Access.WRITE));
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
