/* Between memory and vectors: read-modify-write operands, and LOCK. What a LOCKed instruction has loaded must still be there when it stores: the store is a
 * compare-and-swap, and where it fails the instruction starts over, having changed nothing yet. Whoever emits for another tier gives restart() and hostForUpdate().
 * @source docs/vcpus.md "LOCK" */
import type { Pair, Size } from "../../isa/sem.ts";
import { STATE } from "./emit-flags.ts";
import { EmitMemory, SLOW } from "./emit-memory.ts";
import type { Value } from "./emit-values.ts";
import { Engine } from "./layout.ts";
import { pushIsInPair } from "./locked.ts";

const COMPARE_EXCHANGES: Record<Size, string> = {
  1: "i64.atomic.rmw8.cmpxchg_u",
  2: "i64.atomic.rmw16.cmpxchg_u",
  4: "i64.atomic.rmw32.cmpxchg_u",
  8: "i64.atomic.rmw.cmpxchg",
};

/** A read-modify-write under way: where, and what was loaded. */
interface Update {
  readonly address: Value;
  readonly host: Value;
  readonly value: Value;
}

export abstract class EmitLocked extends EmitMemory {
  abstract readonly lock: boolean;
  #update: Update | undefined;
  #outer: (Update | undefined)[] = [];

  /** Leaves for good: the instruction runs again from its start. */
  protected abstract restart(): void;

  /** Reads an operand that writeUpdated() may write afterwards; faults if it must not be written. */
  protected readToUpdate(address: Value, size: Size): Value {
    const host = this.hostForUpdate(address, size);
    const value = this.loadForUpdate(host, address, size);
    this.#update = { address, host, value };
    return value;
  }
  /** Writes an operand: by compare-and-swap after a readToUpdate of a LOCKed instruction. */
  protected writeUpdated(address: Value, size: Size, v: Value): void {
    const update = this.#update;
    if (update?.address !== address) super.store(address, size, v);
    else if (this.lock) this.#compareExchange(update, size, v);
    else this.storeUpdated(update.host, address, size, v);
  }
  /** A LOCKed instruction that goes at its operand by address (bit strings) does it by these two. */
  override load(address: Value, size: Size): Value {
    return this.lock ? this.readToUpdate(address, size) : super.load(address, size);
  }
  override store(address: Value, size: Size, v: Value): void {
    if (this.lock) this.writeUpdated(address, size, v);
    else super.store(address, size, v);
  }

  #compareExchange({ address, host, value }: Update, size: Size, v: Value): void {
    // After the load: if that saw half of a pair's exchange, the exchange is still seen to be under way.
    this.push(host);
    pushIsInPair(this.f);
    this.f.if();
    this.restart();
    this.f.end();
    this.push(host);
    // SLOW is −1, and so no aligned address
    if (size === 1) this.f.i64(SLOW).op("i64.ne");
    else
      this.f
        .i64(size - 1)
        .op("i64.and")
        .op("i64.eqz");
    this.f.if("i32");
    this.push(host);
    this.f.ramAddress();
    for (const operand of [value, v]) this.push(operand);
    this.f.memory(COMPARE_EXCHANGES[size], 0, 1, Math.log2(size));
    this.push(value);
    this.f.op("i64.eq").else();
    this.pushSlow(address);
    for (const operand of [host, value, v]) this.push(operand);
    this.f.i32(size).call(this.imports.function("storeLocked"));
    this.f.end().op("i32.eqz").if();
    this.restart();
    this.f.end();
  }

  exchangePair(address: Value, expected: Pair<Value>, replacement: Pair<Value>): Pair<Value> & { equal: Value } {
    if (this.lock) return this.#exchangePairLocked(address, expected, replacement);
    const upper = this.add(address, this.const(8));
    const [low, high] = [this.load(address, 8), this.load(upper, 8)];
    const equal = this.and(this.eq(low, expected.low), this.eq(high, expected.high));
    this.when(equal, () => {
      this.store(address, 8, replacement.low);
      this.store(upper, 8, replacement.high);
    });
    return { equal, low, high };
  }
  #exchangePairLocked(address: Value, expected: Pair<Value>, replacement: Pair<Value>): Pair<Value> & { equal: Value } {
    const host = this.hostForUpdate(address, 16);
    this.pushSlow(address);
    for (const value of [host, expected.low, expected.high, replacement.low, replacement.high]) this.push(value);
    this.f.call(this.imports.function("exchangePair"));
    const equal = this.keep("i32");
    const half = (at: number): Value => {
      this.f.get(STATE).memory("i64.load", Engine.SCRATCH + at);
      return this.keep("i64");
    };
    return { equal, low: half(0), high: half(8) };
  }
  fence(): void {
    this.f.fence();
  }

  protected override enterBranch(): void {
    this.#outer.push(this.#update);
  }
  protected override leaveBranch(): void {
    this.#update = this.#outer.pop();
  }
}
