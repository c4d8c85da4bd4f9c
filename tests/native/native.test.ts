/* The native harness itself: states go in and come out whole, faults are told, jumps are followed, and a case that kills the child costs only itself. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { CODE_START, DATA, DATA_SIZE, READ_ONLY } from "../instructions/address-space.ts";
import { baseState } from "../instructions/base-state.ts";
import type { InstructionCase, Outcome } from "../instructions/case.ts";
import { compareOutcomes } from "../instructions/compare.ts";
import { NativeRunner, nativeUnavailable } from "./native-runner.ts";

const absolute = (opcode: number, address: number): number[] => [
  opcode,
  0x04,
  0x25,
  address & 255,
  (address >> 8) & 255,
  (address >> 16) & 255,
  address >>> 24,
];
const instruction = (bytes: readonly number[], seed = 1): InstructionCase => ({
  bytes: Uint8Array.from(bytes),
  before: baseState(seed),
  memory: [],
});
const rip = (o: Outcome): number => Number(new DataView(o.state.buffer).getBigUint64(Reg.RIP, true));

describe("native runner", { skip: nativeUnavailable() ?? false }, () => {
  const native = new NativeRunner();
  after(() => native.close());
  const one = async (bytes: readonly number[], seed = 1): Promise<Outcome> => {
    const [outcome] = await native.run([instruction(bytes, seed)]);
    assert.ok(outcome);
    return outcome;
  };

  test("NOP leaves every state as it was", async () => {
    const cases = Array.from({ length: 2000 }, (_, seed) => instruction([0x90], seed));
    for (const [i, outcome] of (await native.run(cases)).entries()) {
      const state = cases[i]!.before.slice();
      new DataView(state.buffer).setBigUint64(Reg.RIP, BigInt(CODE_START + 1), true);
      assert.deepEqual(compareOutcomes({ state, fault: undefined, memory: [] }, outcome!), []);
    }
  });

  test("faults: vector, error code, address, state untouched", async () => {
    assert.deepEqual((await one([0x0f, 0x0b])).fault, { vector: 6, errorCode: 0, address: 0n });
    assert.deepEqual((await one([0xf4])).fault, { vector: 13, errorCode: 0, address: 0n });
    assert.deepEqual((await one(absolute(0x8a, 0))).fault, { vector: 14, errorCode: 4, address: 0n });
    assert.deepEqual((await one(absolute(0x88, READ_ONLY))).fault, {
      vector: 14,
      errorCode: 7,
      address: BigInt(READ_ONLY),
    });
    const crossing = await one(absolute(0x01, DATA + DATA_SIZE - 2));
    assert.deepEqual(crossing.fault, { vector: 14, errorCode: 6, address: BigInt(DATA + DATA_SIZE) });
    assert.deepEqual(crossing.memory, []);
    assert.deepEqual(crossing.state, baseState(1));
  });

  test("what is written is told, and gone before the next case", async () => {
    const write = await one([...absolute(0xc6, DATA + 100), 0x5a]);
    assert.deepEqual(
      write.memory.map((p) => [p.address, [...p.bytes]]),
      [[DATA + 100, [0x5a]]],
    );
    assert.deepEqual((await one([0x90])).memory, []);
  });

  test("jumps are followed", async () => {
    assert.equal(rip(await one([0xeb, 0x20])), CODE_START + 0x22);
    assert.equal(rip(await one([0xe9, 0x00, 0xfe, 0xff, 0xff])), CODE_START + 5 - 0x200);
  });

  test("a case that kills the child costs only itself", async () => {
    const exit = instruction([0x0f, 0x05]); // SYSCALL
    new DataView(exit.before.buffer).setBigUint64(Reg.GPR, 231n, true); // exit_group
    const outcomes = await native.run([instruction([0x90]), exit, instruction([0x90])]);
    assert.deepEqual(
      outcomes.map((o) => o !== undefined),
      [true, false, true],
    );
  });
});
