import assert from "node:assert/strict";
import { test } from "node:test";
import { CPU_FEATURES } from "../features.ts";
import { Reg } from "../registers.ts";
import { CALLS } from "./calls.ts";
import { cpuModel, KvmFeature } from "./cpu-model.ts";
import { cpuidLeaf, type CpuidResult } from "./cpuid.ts";
import { fakeCpu } from "./fake-cpu.ts";

const { regs } = fakeCpu();
const leaf = (n: number, sub = 0, model = cpuModel(4)): CpuidResult => cpuidLeaf(model, regs, n, sub);
const ascii = (...words: number[]): string =>
  Buffer.from(Uint32Array.from(words.map((w) => w >>> 0)).buffer).toString("latin1");

test("what Linux, glibc and x86-64-v2 require is told", () => {
  const { ecx, edx } = leaf(1);
  // FPU PSE MSR PAE CX8 PGE CMOV FXSR SSE SSE2 (Linux), MMX (glibc baseline)
  for (const bit of [0, 3, 5, 6, 8, 13, 15, 24, 25, 26, 23]) assert.ok((edx >>> bit) & 1, `EDX ${bit}`);
  // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT, hypervisor
  for (const bit of [0, 9, 13, 19, 20, 23, 31]) assert.ok((ecx >>> bit) & 1, `ECX ${bit}`);
  // neither MONITOR VMX AES AVX F16C, nor SEP MCE MCA MTRR
  for (const bit of [3, 5, 25, 28, 29]) assert.equal((ecx >>> bit) & 1, 0, `ECX ${bit}`);
  for (const bit of [7, 11, 12, 14]) assert.equal((edx >>> bit) & 1, 0, `EDX ${bit}`);
  assert.equal(leaf(0x8000_0001).edx >>> 0, ((1 << 11) | (1 << 20) | (1 << 26) | (1 << 27) | (1 << 29)) >>> 0);
});

test("every instruction feature of the decoder is told, but SEP; a feature taken out is not", () => {
  const all = (model = cpuModel(1, 0, CPU_FEATURES)): string =>
    JSON.stringify([1, 7, 0xd, 0x8000_0001].map((n) => leaf(n, 0, model)));
  for (const feature of CPU_FEATURES) {
    const without = cpuModel(1, 0, new Set([...CPU_FEATURES].filter((f) => f !== feature)));
    assert.equal(all(without) !== all(), feature !== "sep", feature);
  }
});

test("vendor, brand and hypervisor signatures", () => {
  const zero = leaf(0),
    kvm = leaf(0x4000_0000);
  assert.equal(ascii(zero.ebx, zero.edx, zero.ecx), "GenuineIntel");
  assert.equal(ascii(kvm.ebx, kvm.ecx, kvm.edx), "KVMKVMKVM\0\0\0");
  const brand = [2, 3, 4]
    .map((n) => leaf(0x8000_0000 + n))
    .map((r) => ascii(r.eax, r.ebx, r.ecx, r.edx))
    .join("");
  assert.match(brand, /^Mere virtual processor\0+$/);
  assert.equal(leaf(0x4000_0001, 0, cpuModel(1, KvmFeature.CLOCKSOURCE2)).eax, 8);
});

test("topology for 1, 3, 4 and 200 processors", () => {
  for (const [vcpus, bits] of [
    [1, 0],
    [3, 2],
    [4, 2],
    [200, 8],
  ] as const) {
    const model = cpuModel(vcpus);
    assert.deepEqual(
      [leaf(0xb, 0, model).ebx, leaf(0xb, 1, model).eax, leaf(0xb, 1, model).ebx, leaf(0xb, 2, model).ecx],
      [1, bits, vcpus, 2],
    );
    assert.equal((leaf(4, 3, model).eax >> 14) & 0xfff, (1 << bits) - 1);
    assert.equal(leaf(4, 4, model).eax, 0);
    assert.equal((leaf(1, 0, model).edx >>> 28) & 1, vcpus > 1 ? 1 : 0);
  }
  assert.equal(leaf(0xb).edx, 1); // the x2APIC id
});

test("frequencies agree: TSC = crystal = 1 GHz", () => {
  assert.deepEqual(leaf(0x15), { eax: 1, ebx: 1, ecx: 1_000_000_000, edx: 0 });
  assert.equal(leaf(0x16).eax, 1000);
  assert.equal(leaf(0x4000_0010).eax, 1_000_000);
});

test("the TSC is not said to be invariant, so that Linux keeps kvm-clock", () => {
  assert.deepEqual(leaf(0x8000_0007), { eax: 0, ebx: 0, ecx: 0, edx: 0 });
});

test("the instruction writes 32-bit results and shows CR4.OSXSAVE", () => {
  const cpu = fakeCpu();
  cpu.regs.setGpr(0, 0xffff_ffff_0000_0001n);
  cpu.regs.setGpr(1, 0xffff_ffff_ffff_ffffn);
  CALLS.cpuid!.run(cpu);
  assert.equal((cpu.regs.gpr(1) >> 27n) & 1n, 0n);
  assert.equal(cpu.regs.gpr(1) >> 32n, 0n);
  cpu.regs.set64(Reg.CR4, 1n << 18n);
  cpu.regs.setGpr(0, 1n);
  CALLS.cpuid!.run(cpu);
  assert.equal((cpu.regs.gpr(1) >> 27n) & 1n, 1n);
});
