/* Out-of-line halves of LOCKed accesses in the core module. An aligned operand is one atomic instruction, inline (EmitMemory.storeLocked); here are those that lie
 * anyhow inside 8 aligned bytes, and pairs of 8 bytes. What crosses that, pages with code and device windows go to the host, which stops the other executors.
 * @source docs/vcpus.md "LOCK" */
import type { FunctionBuilder } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { ENTRY } from "./emit-memory.ts";
import { Engine, World } from "./layout.ts";

const ADDRESS = 2;
const HOST = 3;
const EXPECTED = 4;
/** How long a waiter for the pair lock sleeps at once: its holder, for some ten instructions, may have lost the host's processor. */
const WAIT_NS = 50_000;

/** Host address on the stack → is a pair being exchanged there? */
export function pushIsInPair(f: FunctionBuilder): void {
  f.i64(-16).op("i64.and").i32(0).memory("i64.load", World.PAIR).op("i64.eq");
}

/** (state, entry, address, host, expected, value, size) → done */
export function writeStoreLocked(f: FunctionBuilder, slow: number): FunctionBuilder {
  const [value, size] = [5, 6];
  const [at, shift, mask, old] = [f.local("i64"), f.local("i64"), f.local("i64"), f.local("i64")];
  f.get(HOST).i64(-1).op("i64.eq");
  f.get(HOST).i64(7).op("i64.and").get(size).op("i64.extend_i32_u").op("i64.add").i64(8).op("i64.gt_u");
  f.op("i32.or").if();
  f.get(STATE).get(ENTRY).get(ADDRESS).get(EXPECTED).get(value).get(size).call(slow).op("return");
  f.end();
  f.get(HOST).i64(-8).op("i64.and").set(at);
  f.get(HOST).i64(7).op("i64.and").i64(3).op("i64.shl").set(shift);
  // an operand of 8 bytes is aligned here, and has no business here
  f.i64(1).get(size).op("i64.extend_i32_u").i64(3).op("i64.shl").op("i64.shl").i64(1).op("i64.sub").set(mask);
  const again = f.loop();
  f.get(at).ramAddress().memory("i64.atomic.load", 0, 1, 3).tee(old);
  f.get(shift).op("i64.shr_u").get(mask).op("i64.and").get(EXPECTED).op("i64.ne");
  f.get(at);
  pushIsInPair(f);
  f.op("i32.or").if();
  f.i32(0).op("return").end();
  f.get(at).ramAddress().get(old);
  f.get(old).get(mask).get(shift).op("i64.shl").i64(-1).op("i64.xor").op("i64.and");
  f.get(value).get(mask).op("i64.and").get(shift).op("i64.shl").op("i64.or");
  f.memory("i64.atomic.rmw.cmpxchg", 0, 1, 3).get(old).op("i64.ne").brIf(again);
  f.end().i32(1);
  return f;
}

/** (state, entry, address, host, expected low, high, replacement low, high) → equal. One lock makes pairs atomic to each other. Narrower LOCKed instructions that
 *  have seen the new low half look at PAIR before they store, and start over; what they or plain stores do to a half that was not exchanged yet is found by
 *  its compare-and-swap, and then the low half is taken back and all starts over. */
export function writeExchangePair(f: FunctionBuilder, slow: number, alone: boolean): FunctionBuilder {
  const [expectedHigh, low, high] = [5, 6, 7];
  if (alone) {
    f.get(STATE).get(ENTRY).get(ADDRESS).get(EXPECTED).get(expectedHigh).get(low).get(high).call(slow);
    return f;
  }
  const [oldLow, oldHigh, equal] = [f.local("i64"), f.local("i64"), f.local("i32")];
  f.get(HOST).i64(-1).op("i64.eq").if();
  f.get(STATE).get(ENTRY).get(ADDRESS).get(EXPECTED).get(expectedHigh).get(low).get(high).call(slow).op("return");
  f.end();
  const taken = f.block();
  const wait = f.loop();
  f.i32(0).i32(0).i32(1).memory("i32.atomic.rmw.cmpxchg", World.PAIR_LOCK, 0, 2).op("i32.eqz").brIf(taken);
  f.i32(0).i32(1).i64(WAIT_NS).memory("memory.atomic.wait32", World.PAIR_LOCK, 0, 2).op("drop").br(wait);
  f.end().end();

  f.i32(0).get(HOST).memory("i64.atomic.store", World.PAIR, 0, 3);
  const done = f.block();
  const again = f.loop();
  f.get(HOST).ramAddress().memory("i64.atomic.load", 0, 1, 3).set(oldLow);
  f.get(HOST).ramAddress().memory("i64.atomic.load", 8, 1, 3).set(oldHigh);
  f.get(oldLow).get(EXPECTED).op("i64.eq").get(oldHigh).get(expectedHigh).op("i64.eq").op("i32.and").tee(equal);
  f.op("i32.eqz").brIf(done);
  const half = (at: number, from: number, to: number): FunctionBuilder =>
    f.get(HOST).ramAddress().get(from).get(to).memory("i64.atomic.rmw.cmpxchg", at, 1, 3).get(from);
  half(0, EXPECTED, low).op("i64.ne").brIf(again);
  half(8, expectedHigh, high).op("i64.eq").brIf(done);
  half(0, low, EXPECTED).op("drop").op("drop").br(again);
  f.end().end();

  f.get(STATE).get(oldLow).memory("i64.store", Engine.SCRATCH);
  f.get(STATE)
    .get(oldHigh)
    .memory("i64.store", Engine.SCRATCH + 8);
  f.i32(0).i64(0).memory("i64.atomic.store", World.PAIR, 0, 3);
  f.i32(0).i32(0).memory("i32.atomic.store", World.PAIR_LOCK, 0, 2).get(equal);
  return f;
}
