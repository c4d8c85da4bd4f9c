/* Third layer: guest memory through the software TLB. The probe is inline; what misses (unmapped, page-crossing, device, code page, fault) goes to the
 * core module's slow functions, which fill the TLB, do the access piecewise, or end in the guest's fault: a #PF is noted and looked for after the call, rare ones
 * are JavaScript exceptions. */
import { Reg } from "../../isa/registers.ts";
import type { Size } from "../../isa/sem.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { EmitFlags, STATE } from "./emit-flags.ts";
import type { Value } from "./emit-values.ts";
import { Engine, Tlb, TLB_ENTRIES, TLB_ENTRY_BYTES } from "./layout.ts";

/** Parameter index of the decoded entry's address. */
export const ENTRY = 1;

/** Functions of the core module and of the host that generated code calls; the module writer gives their indices. */
export interface Imports {
  /** Index of a core or host function in the module being written. */
  function(name: string): number;
}

const PAGE_MASK = -4096n;
/** Host address that says: this read-modify-write goes the slow way. */
export const SLOW = -1;

const LOADS: Record<Size, string> = { 1: "i64.load8_u", 2: "i64.load16_u", 4: "i64.load32_u", 8: "i64.load" };
const STORES: Record<Size, string> = { 1: "i64.store8", 2: "i64.store16", 4: "i64.store32", 8: "i64.store" };

/** Pushes the address (i32) of the TLB entry for a linear address. */
export function pushTlbEntry(f: FunctionBuilder, pushAddress: () => void): void {
  pushAddress();
  f.i64(7).op("i64.shr_u").op("i32.wrap_i64");
  f.i32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES).op("i32.and");
  f.get(STATE).memory("i32.load", Engine.TLB).op("i32.add");
}

export abstract class EmitMemory extends EmitFlags {
  readonly imports: Imports;

  constructor(f: FunctionBuilder, imports: Imports) {
    super(f);
    this.imports = imports;
  }

  /** Emits the probe; leaves a condition (i32, nonzero: miss) on the stack. @returns local of the entry's address */
  #probe(address: Value, size: number, tag: number): number {
    const entry = this.f.local("i32");
    pushTlbEntry(this.f, () => this.push(address));
    this.f.tee(entry).memory("i64.load", tag);
    this.push(address);
    // one compare finds a wrong page and an access that runs into the next one: that page has another entry
    if (size > 1) this.f.i64(size - 1).op("i64.add");
    this.f.i64(PAGE_MASK).op("i64.and").op("i64.ne");
    return entry;
  }
  #pushHost(address: Value, entry: number): void {
    this.push(address);
    this.f.get(entry).memory("i64.load", Tlb.ADDEND).op("i64.add");
  }
  /** Pushes what all slow paths begin with. */
  protected pushSlow(address: Value): void {
    this.f.get(STATE).get(ENTRY);
    this.push(address);
  }

  /** After a call that may have noted a #PF: then the instruction ends, and that is delivered. */
  protected endIfFault(): void {
    this.f.get(STATE).memory("i32.load", Engine.FAULT).if();
    this.deliverFault();
    this.f.end();
  }
  /** Leaves for good: the current instruction has changed nothing and ends in the #PF of Engine.FAULT. */
  protected abstract deliverFault(): void;

  /** The guest's TSC: host nanoseconds and an offset. @param pushEntry pushes the decoded entry, or 0 */
  protected timeStamp(pushEntry: () => void): Value {
    this.f.get(STATE);
    pushEntry();
    this.f.call(this.imports.function("clock")).op("i64.trunc_sat_f64_s");
    return this.add(this.keep("i64"), this.field(Reg.TSC_OFFSET, 8));
  }

  load(address: Value, size: Size): Value {
    const entry = this.#probe(address, size, Tlb.READ);
    this.f.if("i64");
    this.pushSlow(address);
    this.f.i32(size).call(this.imports.function("load"));
    this.endIfFault();
    this.f.else();
    this.#pushHost(address, entry);
    this.f.ramAddress().memory(LOADS[size], 0, 1).end();
    return this.keep("i64");
  }

  store(address: Value, size: Size, v: Value): void {
    const entry = this.#probe(address, size, Tlb.WRITE);
    this.f.if();
    this.pushSlow(address);
    this.push(v);
    this.f.i32(size).call(this.imports.function("store"));
    this.endIfFault();
    this.f.else();
    this.#pushHost(address, entry);
    this.f.ramAddress();
    this.push(v);
    this.f.memory(STORES[size], 0, 1).end();
  }

  /** Host address for a read-modify-write, write permission checked; SLOW where there is none. */
  protected hostForUpdate(address: Value, size: number): Value {
    const entry = this.#probe(address, size, Tlb.WRITE);
    this.f.if("i64");
    this.pushSlow(address);
    this.f.i32(size).call(this.imports.function("update"));
    this.endIfFault();
    this.f.else();
    this.#pushHost(address, entry);
    this.f.end();
    return this.keep("i64");
  }
  protected loadForUpdate(host: Value, address: Value, size: Size): Value {
    this.push(host);
    this.f.i64(SLOW).op("i64.eq").if("i64");
    this.pushSlow(address);
    this.f.i32(size).call(this.imports.function("load"));
    this.endIfFault();
    this.f.else();
    this.push(host);
    this.f.ramAddress().memory(LOADS[size], 0, 1).end();
    return this.keep("i64");
  }
  protected storeUpdated(host: Value, address: Value, size: Size, v: Value): void {
    this.push(host);
    this.f.i64(SLOW).op("i64.eq").if();
    this.pushSlow(address);
    this.push(v);
    this.f.i32(size).call(this.imports.function("store"));
    this.endIfFault();
    this.f.else();
    this.push(host);
    this.f.ramAddress();
    this.push(v);
    this.f.memory(STORES[size], 0, 1).end();
  }

  loadVector(address: Value): Value {
    const entry = this.#probe(address, 16, Tlb.READ);
    this.f.if("v128");
    this.pushSlow(address);
    this.f.call(this.imports.function("loadVector"));
    this.endIfFault();
    this.f.get(STATE).memory("v128.load", Engine.SCRATCH);
    this.f.else();
    this.#pushHost(address, entry);
    this.f.ramAddress().memory("v128.load", 0, 1).end();
    return this.keep("v128");
  }
  storeVector(address: Value, v: Value): void {
    const entry = this.#probe(address, 16, Tlb.WRITE);
    this.f.if();
    this.f.get(STATE);
    this.pushV128(v);
    this.f.memory("v128.store", Engine.SCRATCH);
    this.pushSlow(address);
    this.f.call(this.imports.function("storeVector"));
    this.endIfFault();
    this.f.else();
    this.#pushHost(address, entry);
    this.f.ramAddress();
    this.pushV128(v);
    this.f.memory("v128.store", 0, 1).end();
  }

  probeWrite(address: Value, size: number): void {
    this.#probe(address, size, Tlb.WRITE);
    this.f.if();
    this.pushSlow(address);
    this.f.i32(size).call(this.imports.function("probeWrite"));
    this.f.end();
  }
}
