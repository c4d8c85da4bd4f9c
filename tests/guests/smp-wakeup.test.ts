/* A second vCPU that the first one starts by the ACPI wakeup mailbox, on the way that Linux's trampoline goes: 64-bit code, 32-bit code, paging off and on, 64-bit code.
 * @source Linux arch/x86/realmode/rm/trampoline_64.S */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, SmpGuest } from "./smp-guest.ts";

const TRAMPOLINE = 0x30000;
const PGD = 0x7000;

/** The first writes address and command and waits for the answer; the second begins here when it has come through. */
const STARTER = code(`
  85 ff                           test edi, edi
  75 21                           jne done
  b8 00 00 b1 fe                  mov eax, 0xfeb10000
  c7 40 04 01 00 00 00            mov dword [rax + 4], 1
  48 c7 40 08 00 00 03 00         mov qword [rax + 8], 0x30000
  66 c7 00 01 00                  mov word [rax], 1
  wait:
  f3 90                           pause
  66 83 38 00                     cmp word [rax], 0
  75 f8                           jne wait
  done:
`);
const START_64 = code(`
  0f 01 1d 39 02 00 00            lidt [0x30240]
  0f 01 15 22 02 00 00            lgdt [0x30230]
  ff 2d 0c 02 00 00               jmp far [0x30220]
`);
/** At 0x30100: paging off. */
const COMPAT = code(`
  bc 00 20 04 00                  mov esp, 0x42000
  66 ba 18 00                     mov dx, 0x18
  b8 33 00 05 00                  mov eax, 0x50033
  0f 22 c0                        mov cr0, eax
  ea 20 01 03 00 08 00            jmp 0x8:0x30120
`);
/** At 0x30120. */
const STARTUP_32 = code(`
  8e d2                           mov ss, edx
  83 c4 10                        add esp, 0x10
  8e da                           mov ds, edx
  8e c2                           mov es, edx
  8e e2                           mov fs, edx
  8e ea                           mov gs, edx
  0f ba 25 50 02 03 00 00         bt dword [0x30250], 0
  73 0f                           jae done
  b9 10 00 01 c0                  mov ecx, 0xc0010010
  0f 32                           rdmsr
  0f ba e8 17                     bts eax, 23
  72 02                           jb done
  0f 30                           wrmsr
  done:
  a1 54 02 03 00                  mov eax, [0x30254]
  0f 22 e0                        mov cr4, eax
  b8 00 70 00 00                  mov eax, 0x7000
  0f 22 d8                        mov cr3, eax
  b9 80 00 00 c0                  mov ecx, 0xc0000080
  0f 32                           rdmsr
  3b 05 58 02 03 00               cmp eax, [0x30258]
  75 08                           jne write_efer
  3b 15 5c 02 03 00               cmp edx, [0x3025c]
  74 0d                           je done_efer
  write_efer:
  a1 58 02 03 00                  mov eax, [0x30258]
  8b 15 5c 02 03 00               mov edx, [0x3025c]
  0f 30                           wrmsr
  done_efer:
  b8 33 00 05 80                  mov eax, 0x80050033
  0f 22 c0                        mov cr0, eax
  ea c0 01 03 00 10 00            jmp 0x10:0x301c0
`);
/** At 0x301c0. */
const STARTUP_64 = code(`
  ff 25 9a 00 00 00               jmp [0x30260]
`);
const CR4 = 0xa0n; // PAE, PGE
const EFER = 0xd00n; // NXE LMA LME
const GDT = [0n, 0x00cf_9b00_0000_ffffn, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn];

/** A guest whose second vCPU is parked, with the trampoline at 0x30000. @param patched code to put over STARTUP_32 */
function parkedGuest(executors: number, patched?: Listing): SmpGuest {
  const g = new SmpGuest(STARTER, { parked: true, executors });
  const { ram } = g;
  ram.write(TRAMPOLINE, START_64.bytes);
  ram.write(TRAMPOLINE + 0x100, COMPAT.bytes);
  ram.write(TRAMPOLINE + 0x120, STARTUP_32.bytes);
  ram.write(TRAMPOLINE + 0x1c0, STARTUP_64.bytes);
  if (patched) ram.write(TRAMPOLINE + 0x120, patched.bytes);
  ram.writeU64(TRAMPOLINE + 0x220, BigInt(TRAMPOLINE + 0x100) | (8n << 32n));
  ram.writeU16(TRAMPOLINE + 0x230, 8 * GDT.length - 1);
  ram.writeU64(TRAMPOLINE + 0x232, BigInt(TRAMPOLINE + 0x280));
  ram.writeU32(TRAMPOLINE + 0x254, Number(CR4));
  ram.writeU64(TRAMPOLINE + 0x258, EFER & ~0x400n);
  ram.writeU64(TRAMPOLINE + 0x260, BigInt(At.CODE));
  GDT.forEach((descriptor, i) => ram.writeU64(TRAMPOLINE + 0x280 + 8 * i, descriptor));
  ram.writeU64(PGD, ram.readU64(At.FIRMWARE)!);
  return g;
}

describe("a vCPU that the mailbox starts", () => {
  for (const executors of [2, 1]) {
    test(`comes through 32-bit code into 64-bit code, ${executors} executors`, async () => {
      const g = parkedGuest(executors);
      await g.run();
      const regs = g.files[1]!;
      assert.equal(regs.get32(Reg.RUN_STATE), 1, "halted at the end");
      assert.deepEqual(
        [Reg.CR0, Reg.CR3, Reg.CR4, Reg.EFER].map((field) => regs.get64(field)),
        [0x8005_0033n, BigInt(PGD), CR4, EFER],
      );
      assert.equal(regs.get64(Reg.WAKING), 0n);
      assert.equal(regs.gpr(4), 0x42010n);
      assert.equal(regs.segment(1).selector, 0x10);
      assert.equal(regs.segment(2).selector, 0x18);
    });
  }

  for (const [what, patched, reason] of [
    [
      "an instruction that is not on the way",
      "0f 0b  ud2",
      /meets an instruction that its way to 64-bit mode does not have at 30120/,
    ],
    ["a loop", "eb fe  jmp $", /does not come back to 64-bit mode/],
    ["an MSR that there is not", "b9 99 09 00 00  mov ecx, 0x999\n0f 32  rdmsr", /reads an MSR that there is not/],
    ["64-bit code without paging", "ea c0 01 03 00 10 00  jmp 0x10:0x301c0", /jumps to 64-bit code without paging/],
    [
      "a segment outside the GDT",
      "ea c0 01 03 00 80 00  jmp 0x80:0x301c0",
      /jumps to a code segment that there is not/,
    ],
  ] as const) {
    test(`that meets ${what} shuts down and says so`, async () => {
      const { shutdown, states } = await parkedGuest(2, code(patched)).end();
      assert.ok(shutdown);
      assert.match(states.find(({ vcpu }) => vcpu === 1)!.text, reason);
    });
  }
});
