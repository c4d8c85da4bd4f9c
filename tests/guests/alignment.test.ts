/* #AC: data that is not aligned, in user code that has asked for it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

describe("alignment checks", () => {
  const AM = 1n << 18n;
  const program = code(`
      48 8b 03                        mov rax, [rbx]
      89 43 08                        mov [rbx + 8], eax
      8a 4b 01                        mov cl, [rbx + 1]
      0f 10 03                        movups xmm0, [rbx]
    fault:
      89 43 02                        mov [rbx + 2], eax
      0f 0b                           ud2
  `);
  function user(listing: Listing, rflags: number, am = AM): SmallGuest {
    const g = new SmallGuest();
    g.regs.set64(Reg.CR0, g.regs.get64(Reg.CR0) | am);
    g.loadUser(listing, rflags);
    g.regs.setGpr(3, BigInt(At.USER + 0x1000));
    return g;
  }
  test("#AC in user code with CR0.AM and AC; not without one of them", () => {
    const g = user(program, Rflags.AC | 2);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip - At.USER], [17, 0n, program.at("fault")]);
    assert.equal(user(program, 2).run().vector, 6);
    assert.equal(user(program, Rflags.AC | 2, 0n).run().vector, 6);
  });

  test("AC by POPF, the kernel reached by SYSCALL and left by SYSRET: checked in user code only", () => {
    const listing = code(`
        68 02 00 04 00                  push 0x40002
        9d                              popfq
        0f 05                           syscall
      fault:
        66 01 43 01                     add [rbx + 1], ax
    `);
    const g = user(listing, 2);
    g.write(
      0x2_0000,
      code(`
        48 8b 04 25 01 00 03 00         mov rax, [0x30001]
        48 ad                           lodsq
        48 0f 07                        sysretq
    `).bytes,
    );
    g.regs.set64(Reg.LSTAR, 0x2_0000n);
    g.regs.setGpr(6, BigInt(At.DATA + 1));
    g.regs.setGpr(7, BigInt(At.DATA + 0x103));
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rip - At.USER], [17, listing.at("fault")]);
  });

  test("REP MOVSQ faults at its first element", () => {
    const g = user(
      code(`
        f3 48 a5                        rep movsq
    `),
      Rflags.AC | 2,
    );
    g.regs.setGpr(1, 100n);
    g.regs.setGpr(6, BigInt(At.USER + 0x1001));
    g.regs.setGpr(7, BigInt(At.USER + 0x2000));
    assert.deepEqual([g.run().vector, g.gpr(1)], [17, 100n]);
  });
});
