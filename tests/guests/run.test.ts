/* How much run() does before it comes back, and what it counts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Attention } from "../../src/engine/engine.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { countingGuest, HANDLER } from "./counting-guest.ts";
import { code } from "./listing.ts";
import { At } from "./small-guest.ts";

const [RAX, RCX] = [0, 1];

describe("run()", () => {
  const LOOP = code(`
    again:
      48 83 c0 01                     add rax, 1
      48 ff c9                        dec rcx
      75 f7                           jnz again
      f4                              hlt
  `);
  test("stops near its budget, exactly at an instruction, and goes on", () => {
    const g = countingGuest(LOOP);
    g.regs.setGpr(RCX, 1_000_000n);
    for (const budget of [1, 2, 3, 10, 1000, 20_000, 20_001, 77_777]) {
      const before = g.retired;
      assert.equal(g.exit(budget).kind, "budget");
      const done = g.retired - before;
      assert.ok(done >= budget && done < budget + 64, `${done} instructions for ${budget}`);
      const [rounds, place] = [Math.floor(g.retired / 3), g.retired % 3];
      assert.deepEqual(
        [g.gpr(RAX), Number(g.regs.get64(Reg.RIP)) - At.CODE],
        [BigInt(rounds + (place > 0 ? 1 : 0)), [0, 4, 7][place]],
      );
    }
  });

  test("counts every instruction once: a million rounds", () => {
    const g = countingGuest(LOOP);
    g.regs.setGpr(RCX, 100_000n);
    g.run();
    assert.equal(g.retired, 300_001);
  });

  test("counts blocks that go over pages, calls, and faults", () => {
    const g = countingGuest(
      code(`
        b9 e8 03 00 00                  mov ecx, 1000
      again:
        ff d3                           call rbx
        cd 41                           int 0x41
        e2 fa                           loop again
        f4                              hlt
    `),
    );
    g.regs.setGpr(3, BigInt(At.DATA + 4090));
    g.gate(0x41, { offset: BigInt(HANDLER + 0x100) });
    g.write(HANDLER + 0x100, [0x48, 0xcf]); // iretq
    g.write(At.DATA + 4090, [0x90, 0x90, 0x90, 0x90, 0x90, 0x48, 0xff, 0xc0, 0xc3]); // five NOPs, inc rax, ret
    g.run();
    assert.deepEqual([g.gpr(RAX), g.retired], [1000n, 1 + 1000 * (1 + 7 + 2 + 1) + 1]);
  });

  test("comes out when another thread asks, and after that goes on", () => {
    const g = countingGuest(
      code(`
      again:
        eb fe                           jmp again
    `),
    );
    const words = new Int32Array(g.engine.state.buffer);
    Atomics.store(words, (g.vcpu.address + Reg.ATTENTION) >> 2, Attention.COME_OUT);
    assert.equal(g.exit().kind, "attention");
    assert.equal(g.exit(1000).kind, "budget");
  });

  test("flags survive coming out and going on", () => {
    const g = countingGuest(
      code(`
        b8 ff ff ff 7f                  mov eax, 0x7fffffff
        83 c0 01                        add eax, 1
        f4                              hlt
        71 06                           jno bad
        79 04                           jns bad
        72 02                           jc bad
        9c                              pushfq
        5b                              pop rbx
      bad:
        f4                              hlt
    `),
    );
    g.run();
    g.run();
    assert.equal(Number(g.gpr(3)) & Rflags.OSZAPC, Rflags.OF | Rflags.SF | Rflags.PF | Rflags.AF);
  });
});
