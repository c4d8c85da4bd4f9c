/* Hot instructions and pairs of them, with addresses that exist and others: the run loop's common handlers fault at the right one of two, with the same state as
 * single steps. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { HOT_PAIRS, HOT_SHAPES } from "../../src/engine/wasm/hot-shapes.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, kernelGuest, type SmallGuest, type Stop } from "./small-guest.ts";

const PAGE = 0x2_0000;
const CODE = PAGE + 0x800;
const HLT = 0xf4;
const FAULTS = [0, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 19];
const MISSING = 0x70_0000n;

/** Registers by number: all good addresses, none, every other, none canonical, small numbers. */
const REGISTERS: readonly ((n: number) => bigint)[] = [
  (n) => BigInt(At.DATA + 0x400 + 0x48 * n),
  (n) => MISSING + BigInt(8 * n),
  (n) => (n % 2 === 0 ? BigInt(At.DATA + 0x400 + 0x40 * n) : MISSING),
  (n) => (n % 2 === 1 ? BigInt(At.DATA + 0x400 + 0x40 * n) : 0x8000_0000_0000n + BigInt(n)),
  (n) => BigInt(n * 0x11),
];

interface Outcome {
  readonly frame: Stop;
}
/** @param fresh the register file as a guest begins  @returns undefined if the program does not end soon */
function run(
  g: SmallGuest,
  fresh: Uint8Array,
  bytes: Uint8Array,
  registers: (n: number) => bigint,
  stepping: boolean,
): Outcome | undefined {
  const { regs } = g;
  regs.bytes.set(fresh);
  g.vcpu.flushTlb({ kind: "all" });
  g.vcpu.modeChanged();
  g.write(PAGE, new Uint8Array(4096).fill(HLT));
  g.write(CODE, bytes);
  g.write(
    At.DATA,
    Uint8Array.from({ length: 4096 }, (_, i) => i * 5),
  );
  for (let n = 0; n < 16; n++) regs.setGpr(n, registers(n));
  for (let at = Reg.XMM; at < Reg.ST; at += 8) regs.set64(at, BigInt(at) * 0x0101_0101n);
  regs.rflags = Rflags.CF | Rflags.SF | 2;
  regs.set64(Reg.RIP, BigInt(CODE));
  // a breakpoint that is never met makes the engine step
  regs.set64(Reg.DR + 24, 0x7_0000n);
  regs.set64(Reg.DR + 56, stepping ? 0x480n : 0x400n);
  if (g.exit(300).kind !== "halted") return undefined;
  const outcome = {
    gpr: Array.from({ length: 16 }, (_, n) => regs.gpr(n)),
    xmm: Buffer.from(regs.bytes.subarray(Reg.XMM, Reg.ST)).toString("hex"),
    rip: regs.get64(Reg.RIP),
    rflags: regs.rflags,
    cr2: g.cr2,
    retired: g.retired,
    data: createHash("sha256").update(g.read(At.DATA, 4096)).digest("hex"),
    frame: g.stop(),
  };
  return outcome;
}

test("run loop and single steps agree on every hot instruction and pair", () => {
  const g = kernelGuest(code(""));
  for (const vector of FAULTS) g.gate(vector, { ist: 1 });
  // what run() does not write anew is not there
  const kept = new Set<number>([PAGE, At.DATA, At.GDT, At.IDT, At.TSS, At.HANDLERS, At.IST1 - 0x1000]);
  for (let page = 0; page < 0x20_0000; page += 0x1000) if (!kept.has(page)) g.unmap(page);
  const fresh = g.regs.bytes.slice(0, Reg.ENGINE);
  let ended = 0;
  let faults = 0;
  for (const hex of [...HOT_SHAPES, ...HOT_PAIRS]) {
    const bytes = Uint8Array.fromHex(hex.replaceAll(" ", ""));
    for (const registers of REGISTERS) {
      const expected = run(g, fresh, bytes, registers, true);
      if (expected === undefined) continue;
      ended++;
      if (expected.frame.vector !== undefined) faults++;
      const outcome = run(g, fresh, bytes, registers, false);
      assert.deepEqual(outcome, expected, `${hex}, registers like ${registers(0).toString(16)}`);
    }
  }
  assert.ok(ended > 3000 && faults > 500, `only ${ended} ended, ${faults} of them by faults`);
});
