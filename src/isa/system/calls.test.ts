import assert from "node:assert/strict";
import { test } from "node:test";
import { Vector } from "../cpu.ts";
import type { Row } from "../row.ts";
import type { Sem, Size } from "../sem.ts";
import { Reg } from "../registers.ts";
import { ALL_ROWS } from "../tables/index.ts";
import { CALL_AREAS, CALLS } from "./calls.ts";
import { enterUser, fakeCpu, faultOf } from "./fake-cpu.ts";

interface Use {
  readonly name: string;
  readonly args: number;
}

/** Runs a row's semantics without values, through both branches of everything, and lists the calls. */
function callsOf(row: Row, size: Size, isMemory: boolean, rep: 0 | 0xf2 | 0xf3): Use[] {
  const uses: Use[] = [];
  const facts: Record<string, unknown> = {
    size,
    addressSize: 8,
    rep,
    lock: false,
    isMemory: () => isMemory,
    width: () => size,
    call: (name: string, ...args: unknown[]) => (uses.push({ name, args: args.length }), 0n),
    when: (_c: bigint, then: () => void, otherwise?: () => void) => (then(), otherwise?.()),
    fpLanes: (lanes: () => bigint[]) => lanes(),
    whenValue: (_c: bigint, then: () => bigint, otherwise: () => bigint) => (then(), otherwise()),
  };
  const sem = new Proxy(facts, { get: (known, name) => (name in known ? known[name as string] : () => 0n) });
  row.semantics.run(sem as unknown as Sem<bigint>);
  return uses;
}

const uses: (Use & { mnemonic: string })[] = [];
for (const row of ALL_ROWS)
  for (const size of [2, 4, 8] as const)
    for (const isMemory of [false, true])
      for (const rep of [0, 0xf2, 0xf3] as const) {
        for (const use of callsOf(row, size, isMemory, rep)) uses.push({ ...use, mnemonic: row.mnemonic });
      }

test("every call that the tables make exists, with as many arguments", () => {
  const wrong = new Set(
    uses.filter((use) => CALLS[use.name]?.args !== use.args).map((use) => `${use.mnemonic}: ${use.name}/${use.args}`),
  );
  assert.deepEqual([...wrong], []);
  assert.ok(uses.length > 100);
});

test("every call is made by some row", () => {
  const made = new Set(uses.map((use) => use.name));
  assert.deepEqual(
    Object.keys(CALLS).filter((name) => !made.has(name)),
    [],
  );
});

test("no name is in two areas", () => {
  const names = CALL_AREAS.flatMap((area) => Object.keys(area));
  assert.equal(new Set(names).size, names.length);
});

test("hypercalls: arguments in RBX RCX RDX RSI, only from the kernel", () => {
  const cpu = fakeCpu();
  cpu.regs.setGpr(0, 5n);
  cpu.regs.setGpr(3, 7n);
  CALLS.vmcall!.run(cpu);
  assert.equal(cpu.regs.gpr(0), 12n);
  enterUser(cpu);
  CALLS.vmcall!.run(cpu);
  assert.equal(cpu.regs.gpr(0), 0xffff_ffff_ffff_ffffn);
});

test("HLT sleeps; MONITOR, SYSENTER do not exist; RDPMC has no counter", () => {
  const cpu = fakeCpu();
  CALLS.hlt!.run(cpu);
  assert.deepEqual(cpu.log, ["halt"]);
  for (const [name, vector] of [
    ["monitor", Vector.UD],
    ["mwait", Vector.UD],
    ["sysenter", Vector.UD],
    ["rdpmc", Vector.GP],
  ] as const) {
    assert.equal(faultOf(() => CALLS[name]!.run(cpu)).vector, vector);
  }
  assert.equal(CALLS.rdrand!.run(cpu), 42n);
  assert.equal(cpu.regs.get32(Reg.RUN_STATE), 0);
});
