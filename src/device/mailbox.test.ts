import assert from "node:assert/strict";
import { test } from "node:test";
import { Word } from "../engine/wakeups.ts";
import { Reg } from "../isa/registers.ts";
import { STOPPED } from "./mailbox.ts";
import { testMachine } from "./test-machine.ts";

const CR3 = 0xf0000;

function parked() {
  const machine = testMachine({ vcpus: 3 });
  for (const regs of machine.registerFiles.slice(1)) {
    regs[Reg.RUN_STATE >> 2] = STOPPED;
    regs[Reg.CR3 >> 2] = CR3;
  }
  const { mmio, layout } = machine.devices;
  const at = layout.mailbox.base;
  return {
    ...machine,
    state: (n: number) => machine.registerFiles[n]![Reg.RUN_STATE >> 2],
    command: () => mmio.read(at, 2),
    wake: (id: number, vector: bigint): void => {
      mmio.write(at + 4, 4, id);
      mmio.write64(at + 8, vector);
      mmio.write(at, 2, 1);
    },
  };
}

test("a command starts the processor of that id at the vector, rings its executor and is taken", () => {
  const { wake, state, command, registerFiles } = parked();
  const bell = registerFiles[0]![Word.BELL]; // executor 0 has them all
  wake(2, 0x1_0009_8000n);
  assert.deepEqual([state(1), state(2), command()], [STOPPED, 0, 0]);
  const regs = registerFiles[2]!;
  assert.deepEqual([regs[Reg.RIP >> 2], regs[(Reg.RIP >> 2) + 1]], [0x98000, 1]);
  assert.equal(regs[Reg.WAKING >> 2], CR3);
  assert.notEqual(regs[Reg.ATTENTION >> 2], 0);
  assert.notEqual(registerFiles[0]![Word.BELL], bell);
});

test("nobody takes a command for a processor that runs or is not there; it stays to be read", () => {
  const { wake, state, command, registerFiles } = parked();
  for (const id of [0, 3, 0xffff_ffff]) {
    wake(id, 0x1234n);
    assert.equal(command(), 1);
  }
  assert.equal(state(0), 0);
  assert.equal(registerFiles[0]![Reg.RIP >> 2], 0);
});

test("the fields read back; what is reserved reads as 0 and swallows writes", () => {
  const { devices } = parked();
  const at = devices.layout.mailbox.base;
  devices.mmio.write(at + 4, 4, 7);
  devices.mmio.write64(at + 8, 0x1122_3344_5566_7788n);
  devices.mmio.write(at + 16, 4, 5);
  devices.mmio.write(at + 0xffc, 4, 5);
  assert.deepEqual(
    [4, 8, 12, 16, 0xffc].map((offset) => devices.mmio.read(at + offset, 4)),
    [7, 0x5566_7788, 0x1122_3344, 0, 0],
  );
});

test("a machine of one vCPU has no mailbox", () => {
  const { mmio, layout } = testMachine().devices;
  assert.equal(mmio.read(layout.mailbox.base, 4), 0xffff_ffff);
});
