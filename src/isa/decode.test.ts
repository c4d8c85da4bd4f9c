/* The decoder by its text (disassemble.ts): prefixes, addressing, selection among rows, failures. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDecoder, newDecoded } from "./decode.ts";
import type { Decoded } from "./decoded.ts";
import { disassemble } from "./disassemble.ts";
import { CPU_FEATURES } from "./features.ts";
import { ALL_ROWS } from "./tables/index.ts";

const decoder = createDecoder();
const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (x) => Number.parseInt(x, 16));

function decode(hex: string, using = decoder): Decoded {
  const bytes = new Uint8Array(32);
  bytes.set(bytesOf(hex));
  const d = newDecoded();
  assert.equal(using.decode(bytes, 0, bytes.length, d), undefined, hex);
  assert.equal(d.length, bytesOf(hex).length, `length of ${hex}`);
  return d;
}
const text = (hex: string): string => disassemble(decode(hex), 0x1000n);
function failure(hex: string, fill = 0): string | undefined {
  const bytes = new Uint8Array(32).fill(fill);
  bytes.set(bytesOf(hex));
  return decoder.decode(bytes, 0, bytes.length, newDecoded());
}

const TEXTS: Record<string, readonly (readonly [string, string])[]> = {
  "operand size": [
    ["01d8", "add eax, ebx"],
    ["6601d8", "add ax, bx"],
    ["4801d8", "add rax, rbx"],
    ["664801d8", "add rax, rbx"],
    ["00e0", "add al, ah"],
    ["4000e0", "add al, spl"],
    ["4500c1", "add r9b, r8b"],
    ["98", "cwde"],
    ["6698", "cbw"],
    ["4898", "cdqe"],
    ["4899", "cqo"],
    ["48cf", "iretq"],
    ["63c8", "movsxd ecx, eax"],
    ["4863c8", "movsxd rcx, eax"],
  ],
  "a REX counts only right before the opcode": [
    ["486601d8", "add ax, bx"],
    ["664801d8", "add rax, rbx"],
    ["484101d8", "add r8d, ebx"],
  ],
  immediates: [
    ["83c0ff", "add eax, 0xffffffff"],
    ["4883c0ff", "add rax, 0xffffffffffffffff"],
    ["4805000000f0", "add rax, 0xfffffffff0000000"],
    ["66b83412", "mov ax, 0x1234"],
    ["48b8efcdab8967452301", "mov rax, 0x123456789abcdef"],
    ["c8341205", "enter 0x1234, 0x5"],
    ["6aff", "push 0xffffffffffffffff"],
    ["666aff", "push 0xffff"],
    ["c21000", "ret 0x10"],
  ],
  addressing: [
    ["8b00", "mov eax, dword ptr [rax]"],
    ["8b4005", "mov eax, dword ptr [rax+0x5]"],
    ["8b80fbffffff", "mov eax, dword ptr [rax-0x5]"],
    ["8b0424", "mov eax, dword ptr [rsp]"],
    ["418b0424", "mov eax, dword ptr [r12]"],
    ["8b4500", "mov eax, dword ptr [rbp]"],
    ["418b4500", "mov eax, dword ptr [r13]"],
    ["8b048b", "mov eax, dword ptr [rbx+rcx*4]"],
    ["428b0423", "mov eax, dword ptr [rbx+r12*1]"],
    ["8b042500f0ffff", "mov eax, dword ptr [0xfffffffffffff000]"],
    ["8b04cd10000000", "mov eax, dword ptr [rcx*8+0x10]"],
    ["488d0510000000", "lea rax, [rip+0x10] {0x1017}"],
    ["678b00", "mov eax, dword ptr [eax]"],
    ["658b00", "mov eax, dword ptr gs:[rax]"],
    ["64488b042500000000", "mov rax, qword ptr fs:[0x0]"],
    ["2e368b00", "mov eax, dword ptr [rax]"],
    ["642e8b00", "mov eax, dword ptr fs:[rax]"],
    ["48a1efcdab8967452301", "mov rax, qword ptr [0x123456789abcdef]"],
    ["67a044332211", "mov al, byte ptr [0x11223344]"],
    ["8f0424", "pop qword ptr [rsp]"],
  ],
  "NOP is not an exchange": [
    ["90", "nop"],
    ["6690", "nop"],
    ["4890", "nop"],
    ["f390", "pause"],
    ["4190", "xchg r8d, eax"],
    ["4891", "xchg rcx, rax"],
  ],
  "mandatory prefixes": [
    ["f30fb8c1", "popcnt eax, ecx"],
    ["66f30fb8c1", "popcnt ax, cx"],
    ["f30fbcc1", "tzcnt eax, ecx"],
    ["0fbcc1", "bsf eax, ecx"],
    ["660fbcc1", "bsf ax, cx"],
    ["f20fbcc1", "bsf eax, ecx"],
    ["f30f1efa", "endbr64"],
    ["f30f1ec8", "nop eax"],
    ["0f1f440000", "nop dword ptr [rax+rax*1]"],
    ["f20f38f0c1", "crc32 eax, cl"],
    ["66f2480f38f1c1", "crc32 rax, rcx"],
    ["66f20f38f1c1", "crc32 eax, cx"],
    ["0f38f008", "movbe ecx, dword ptr [rax]"],
    ["660f38f008", "movbe cx, word ptr [rax]"],
    ["660f38f6c1", "adcx eax, ecx"],
    ["f3480f38f6c1", "adox rax, rcx"],
    ["0faee8", "lfence"],
    ["0faef0", "mfence"],
    ["0faef8", "sfence"],
    ["0fae38", "clflush byte ptr [rax]"],
    ["660fae38", "clflushopt byte ptr [rax]"],
    ["f3480faec0", "rdfsbase rax"],
  ],
  "repetition belongs to strings": [
    ["f3a4", "rep movsb byte ptr [rsi]"],
    ["f2a4", "rep movsb byte ptr [rsi]"],
    ["f3a6", "repe cmpsb byte ptr [rsi]"],
    ["f248af", "repne scas qword ptr [rdi]"],
    ["65f3a5", "rep movs dword ptr gs:[rsi]"],
    ["65ab", "stos dword ptr [rdi]"],
    ["67a4", "movsb byte ptr [esi]"],
    ["f3c3", "ret"],
    ["f2e900000000", "jmp 0x1006"],
  ],
  "near branches are 64 bits": [
    ["66e900000000", "jmp 0x1006"],
    ["ebfe", "jmp 0x1000"],
    ["0f8400010000", "jz 0x1106"],
    ["ffd0", "call rax"],
    ["66ffe0", "jmp rax"],
    ["ff10", "call qword ptr [rax]"],
    ["ff18", "call [rax]"],
    ["e3fe", "jrcxz 0x1000"],
  ],
  "stack operands": [
    ["50", "push rax"],
    ["4150", "push r8"],
    ["6650", "push ax"],
    ["ff30", "push qword ptr [rax]"],
    ["0fa0", "push fs"],
    ["669d", "popf"],
  ],
  lock: [
    ["f00108", "lock add dword ptr [rax], ecx"],
    ["f0480fc70e", "lock cmpxchg16b xmmword ptr [rsi]"],
    ["f0480fba2805", "lock bts qword ptr [rax], 0x5"],
    ["8708", "xchg dword ptr [rax], ecx"],
  ],
  "system registers": [
    ["0f20c0", "mov rax, cr0"],
    ["440f22c0", "mov cr8, rax"],
    ["0f23f8", "mov dr7, rax"],
    ["0f2218", "mov cr3, rax"],
    ["8ed8", "mov ds, ax"],
    ["8ce8", "mov eax, gs"],
    ["488ce8", "mov rax, gs"],
    ["8c28", "mov word ptr [rax], gs"],
    ["0f01f8", "swapgs"],
    ["0f01d0", "xgetbv"],
    ["0f0110", "lgdt [rax]"],
    ["0f01c1", "vmcall"],
    ["660f388208", "invpcid rcx, xmmword ptr [rax]"],
  ],
  VEX: [
    ["c4e270f2c2", "andn eax, ecx, edx"],
    ["c4e2f0f2c2", "andn rax, rcx, rdx"],
    ["c4c270f2c0", "andn eax, ecx, r8d"],
    ["c4e278f3ca", "blsr eax, edx"],
    ["c4e37bf0c205", "rorx eax, edx, 0x5"],
    ["c4e273f7c2", "shrx eax, edx, ecx"],
    ["c4e271f7c2", "shlx eax, edx, ecx"],
    ["c4e273f6c2", "mulx eax, ecx, edx"],
  ],
};

describe("decode", () => {
  for (const [name, cases] of Object.entries(TEXTS)) {
    test(name, () => {
      for (const [hex, expected] of cases) assert.equal(text(hex), expected, hex);
    });
  }

  test("POP to [rsp+…] addresses memory after the pop", () => {
    assert.equal(decode("8f0424").disp, 8);
    assert.equal(decode("668f442404").disp, 6);
    assert.equal(decode("8f00").disp, 0);
  });

  test("where a register number comes from", () => {
    const d = decode("4d01c1");
    assert.deepEqual(
      d.operands.slice(0, 2).map((o) => [o.source, o.reg]),
      [
        ["rm", 9],
        ["reg", 8],
      ],
    );
    assert.equal(decode("4158").operands[0]!.source, "opcode");
    assert.equal(decode("c4e270f2c2").operands[1]!.source, "vvvv");
    assert.deepEqual([decode("88e0").operands[1]!.highByte, decode("88e0").operands[1]!.reg], [true, 0]);
  });

  test("what is no instruction", () => {
    const invalid = [
      "06",
      "27",
      "60",
      "62",
      "82c000",
      "9a",
      "ce",
      "d4",
      "d6",
      "ea",
      "0f04",
      "0f0a",
      "0f24c0",
      "0f20c8", // CR1
      "8ec8",
      "8ef0", // MOV CS, MOV to a sixth segment register
      "8dc0", // LEA of a register
      "c6c800",
      "fed0",
      "fff8",
      "0fc7c8",
      "0fba00",
      "8fc8",
      "f04889c8",
      "f001c8",
      "f00308",
      "f090",
      "f00fa308",
      "f0f6d8", // LOCK where it may not be
      "48c4e270f2c2",
      "f3c4e270f2c2",
      "c4e274f2c2", // VEX with REX, with F3, with L
      "c4e378f0c205",
      "c4e373f0c205", // RORX without F2, with vvvv
    ];
    for (const hex of invalid) assert.equal(failure(hex), "undefined", hex);
  });

  test("rows of a feature that is off do not exist", () => {
    const old = createDecoder(
      ALL_ROWS,
      new Set([...CPU_FEATURES].filter((f) => f !== "bmi1" && f !== "bmi2" && f !== "cx16")),
    );
    assert.equal(disassemble(decode("f30fbcc1", old)), "bsf eax, ecx");
    assert.equal(old.decode(bytesOf("480fc70e000000000000000000000000"), 0, 16, newDecoded()), "undefined");
    assert.equal(old.decode(bytesOf("c4e270f2c20000000000000000000000"), 0, 16, newDecoded()), "undefined");
  });

  test("15 bytes are the limit", () => {
    assert.equal(decode("66".repeat(13) + "01d8").length, 15);
    assert.equal(failure("66".repeat(14) + "01d8"), "tooLong");
    assert.equal(failure("66".repeat(16)), "tooLong");
    assert.equal(failure("66".repeat(9) + "c780" + "00000000" + "1234"), "tooLong");
  });

  test("every proper prefix of an instruction needs more", () => {
    for (const [hex] of Object.values(TEXTS).flat()) {
      const bytes = bytesOf(hex);
      for (let limit = 0; limit < bytes.length; limit++) {
        assert.equal(decoder.decode(bytes, 0, limit, newDecoded()), "needMore", `${hex} cut to ${limit}`);
      }
    }
  });
});
