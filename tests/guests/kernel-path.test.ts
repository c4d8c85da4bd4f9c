/* What kernels do all the time has a short way in the engine beside the complete one: both must come to the same. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags, SegmentIndex } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

const RSP = 4;
const HLT = code(`
  f4                              hlt
`);
const IRETQ = code(`
  48 cf                           iretq
`);
const UD2 = code(`
  0f 0b                           ud2
`);
const DATA_SEGMENTS = [SegmentIndex.ES, SegmentIndex.DS, SegmentIndex.FS, SegmentIndex.GS] as const;

/** A guest at an IRET. @param isPlain data segments are null, as in 64-bit kernels: the short way can be gone */
function atIret(frame: readonly bigint[], isPlain: boolean): SmallGuest {
  const g = new SmallGuest();
  for (const index of DATA_SEGMENTS) {
    const loaded = { selector: 0x18, attributes: 0xc093, limit: 0xffff_ffff, base: 0n };
    g.regs.setSegment(index, isPlain ? { selector: 0, attributes: 0, limit: 0, base: 0n } : loaded);
  }
  g.write(At.FREE, UD2.bytes);
  g.write(At.CODE + 0x100, HLT.bytes);
  g.load(IRETQ);
  const sp = At.STACK - 40;
  frame.forEach((word, i) => g.write64(sp + 8 * i, word));
  g.regs.setGpr(RSP, BigInt(sp));
  return g;
}
function state(g: SmallGuest): unknown {
  const stop = g.run();
  const segments = [SegmentIndex.CS, SegmentIndex.SS].map((index) => g.regs.segment(index));
  return [stop, segments, g.regs.cpl, g.retired];
}

describe("IRET in the short way", () => {
  test("to user code: as the complete way, but for data segments that were null before", () => {
    for (const rflags of [0x202n, 0x2n, 0x246n, 0x8d7n | 0x400n, 0x3202n, 0x20_0202n, 0x1_0202n]) {
      const frame = [BigInt(At.USER), 0x33n, rflags, 0x40_8000n, 0x2bn];
      assert.deepEqual(state(atIret(frame, true)), state(atIret(frame, false)), rflags.toString(16));
      const stop = atIret(frame, true).run();
      assert.deepEqual([stop.vector, stop.cs, stop.ss, stop.rsp, stop.rip], [6, 0x33, 0x2b, 0x40_8000n, At.USER]);
      assert.equal(stop.rflags & 0x20_3ed5, Number(rflags) & 0x20_3ed5);
    }
  });

  test("to the kernel: stack segment null or not, flags of the frame", () => {
    for (const ss of [0n, 0x18n]) {
      for (const rflags of [0x2n, 0x202n, 0xcd7n, 0x1_0ad6n]) {
        const g = atIret([BigInt(At.CODE + 0x100), 0x10n, rflags, BigInt(At.RSP0), ss], true);
        const stop = g.run();
        assert.deepEqual([stop.vector, stop.rip, stop.rsp], [undefined, At.CODE + 0x101, BigInt(At.RSP0)]);
        assert.deepEqual([stop.cs, BigInt(stop.ss), stop.rflags], [0x10, ss, Number(rflags) & ~0x1_0000]);
        const segment = g.regs.segment(SegmentIndex.SS);
        assert.deepEqual([segment.attributes, segment.limit], ss === 0n ? [0, 0] : [0xc093, 0xffff_ffff]);
      }
    }
  });

  test("what is uncommon is refused or done as described", () => {
    const user = BigInt(At.USER);
    for (const frame of [
      [user, 0x33n, 0x202n, 0x40_8000n, 0x18n],
      [user, 0x33n, 0x202n, 0x40_8000n, 0n],
      [user, 0x33n, 0x202n, 0x40_8000n, 3n],
      [user, 0x33n, 0x202n, 0x40_8000n, 0x2fn],
      [user, 0x37n, 0x202n, 0x40_8000n, 0x2bn],
      [user, 0x1003n, 0x202n, 0x40_8000n, 0x2bn],
      [user, 0x4bn, 0x202n, 0x40_8000n, 0x2bn],
      [1n << 47n, 0x33n, 0x202n, 0x40_8000n, 0x2bn],
      [user, 0x33n, 0x302n, 0x40_8000n, 0x2bn],
      [user, 0x33n, 0x4_0202n, 0x40_8000n, 0x2bn],
      [user, 0x33n, 0x4202n, 0x40_8000n, 0x2bn],
      [user, 0x31n, 0x202n, 0x40_8000n, 0x29n],
    ])
      assert.deepEqual(state(atIret(frame, true)), state(atIret(frame, false)), frame.join());
  });

  test("a descriptor that is not flat any more is seen", () => {
    const g = atIret([BigInt(At.USER), 0x33n, 0x202n, 0x40_8000n, 0x2bn], true);
    g.write64(At.GDT + 0x30, g.read64(At.GDT + 0x30) & ~(1n << 47n)); // not present
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip], [11, 0x30n, At.CODE]);
  });

  test("a frame that is not there faults before anything has changed", () => {
    const g = atIret([], true);
    g.regs.setGpr(RSP, 0x60_0000n);
    g.gate(14, { ist: 1 });
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, stop.rsp], [14, 0n, At.CODE, 0x60_0000n]);
  });
});

describe("FS and GS bases", () => {
  const program = code(`
    f3 48 0f ae d0                  wrfsbase rax
    f3 48 0f ae db                  wrgsbase rbx
    f3 48 0f ae c1                  rdfsbase rcx
    f3 0f ae ca                     rdgsbase edx
    f4                              hlt
  `);
  const guest = (rax: bigint, rbx: bigint): SmallGuest => {
    const g = new SmallGuest();
    g.load(program);
    g.regs.setGpr(0, rax);
    g.regs.setGpr(3, rbx);
    return g;
  };
  test("written and read", () => {
    const g = guest(0xffff_8000_1234_5678n, 0x7fff_9abc_def0n);
    assert.equal(g.run().vector, undefined);
    assert.deepEqual([g.gpr(1), g.gpr(2)], [0xffff_8000_1234_5678n, 0x9abc_def0n]);
    assert.equal(g.regs.get64(Reg.GS_BASE), 0x7fff_9abc_def0n);
  });
  test("an address that is not canonical is #GP; without CR4.FSGSBASE they are #UD", () => {
    const g = guest(0n, 1n << 47n);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rip, g.regs.get64(Reg.GS_BASE)], [13, At.CODE + 5, 0n]);
    const off = guest(0n, 0n);
    off.regs.set64(Reg.CR4, off.regs.get64(Reg.CR4) & ~(1n << 16n));
    assert.equal(off.run().vector, 6);
  });
});

test("SYSRET and IRET let a waiting interrupt in at once", () => {
  const g = atIret([BigInt(At.USER), 0x33n, 0x202n, 0x40_8000n, 0x2bn], true);
  g.regs.set32(Reg.RFLAGS, g.regs.get32(Reg.RFLAGS) & ~Rflags.IF);
  g.devices.localApics.apics[0]!.raise(0x40, false);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.cs, stop.rip], [0x40, 0x33, At.USER]);
});
