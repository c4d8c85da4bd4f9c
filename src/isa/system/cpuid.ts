/* CPUID, computed from the CpuModel. @source SDM vol. 2A "CPUID"; Linux Documentation/virt/kvm/x86/cpuid.rst
 *
 * The processor says that it is an in-order Intel Atom (family 6, model 36h). That is the nearest relative of an engine that executes in order:
 * Linux lists this model as "does not speculate" and turns off page-table isolation, retpolines, return thunks and the buffer clearing of entry and
 * exit, without help from the command line; and with Intel's leaf 15h it takes TSC and APIC timer frequencies from CPUID instead of measuring.
 * Every bit of an instruction is told because its rows exist (cpuid-truth.test.ts). */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import type { RegisterFile } from "../register-file.ts";
import { Reg } from "../registers.ts";
import { Cr4 } from "./control-registers.ts";
import { LINEAR_ADDRESS_BITS, PHYSICAL_ADDRESS_BITS, TSC_KHZ } from "./cpu-model.ts";
import type { CpuModel } from "./cpu-model.ts";

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}
type Output = keyof CpuidResult;
const OUTPUTS: readonly Output[] = ["eax", "ebx", "ecx", "edx"];

/** Family 6, model 36h, stepping 1. */
const SIGNATURE = 0x0003_0661;
const CACHE_LINE = 64;
const MAX_BASIC = 0x16,
  MAX_HYPERVISOR = 0x4000_0010,
  MAX_EXTENDED = 0x8000_0008;
const BRAND = "Mere virtual processor";
/** Smallest XSAVE area: legacy region and header. x87 and SSE need no more. */
const XSAVE_SIZE = 512 + 64;

/** Bits that are always told: [leaf, register, bit]. All are parts of the engine itself, not of the decoder's feature list. */
const ALWAYS: readonly (readonly [string, number, Output, number])[] = [
  ["fpu", 1, "edx", 0],
  ["de", 1, "edx", 2],
  ["pse", 1, "edx", 3],
  ["tsc", 1, "edx", 4],
  ["msr", 1, "edx", 5],
  ["pae", 1, "edx", 6],
  ["apic", 1, "edx", 9],
  ["pge", 1, "edx", 13],
  ["pat", 1, "edx", 16],
  ["x2apic", 1, "ecx", 21],
  ["tsc-deadline", 1, "ecx", 24],
  ["hypervisor", 1, "ecx", 31],
  ["arat", 6, "eax", 2],
  ["tsc-adjust", 7, "ebx", 1],
  ["smep", 7, "ebx", 7],
  ["arch-capabilities", 7, "edx", 29],
  ["nx", 0x8000_0001, "edx", 20],
  ["pdpe1gb", 0x8000_0001, "edx", 26],
  ["lm", 0x8000_0001, "edx", 29],
  ["prefetchw", 0x8000_0001, "ecx", 8],
];

/** Bits told when CpuModel.features has the name. "sep" is missing on purpose: see fast-calls.ts. */
const BY_FEATURE: readonly (readonly [string, number, Output, number])[] = [
  ["cx8", 1, "edx", 8],
  ["cmov", 1, "edx", 15],
  ["clflush", 1, "edx", 19],
  ["mmx", 1, "edx", 23],
  ["fxsr", 1, "edx", 24],
  ["sse", 1, "edx", 25],
  ["sse2", 1, "edx", 26],
  ["sse3", 1, "ecx", 0],
  ["pclmulqdq", 1, "ecx", 1],
  ["ssse3", 1, "ecx", 9],
  ["cx16", 1, "ecx", 13],
  ["pcid", 1, "ecx", 17],
  ["sse4.1", 1, "ecx", 19],
  ["sse4.2", 1, "ecx", 20],
  ["movbe", 1, "ecx", 22],
  ["popcnt", 1, "ecx", 23],
  ["aes", 1, "ecx", 25],
  ["xsave", 1, "ecx", 26],
  ["rdrand", 1, "ecx", 30],
  ["fsgsbase", 7, "ebx", 0],
  ["bmi1", 7, "ebx", 3],
  ["bmi2", 7, "ebx", 8],
  ["invpcid", 7, "ebx", 10],
  ["rdseed", 7, "ebx", 18],
  ["adx", 7, "ebx", 19],
  ["smap", 7, "ebx", 20],
  ["clflushopt", 7, "ebx", 23],
  ["erms", 7, "ebx", 9],
  ["fsrm", 7, "edx", 4],
  ["sha", 7, "ebx", 29],
  ["rdpid", 7, "ecx", 22],
  ["lahf", 0x8000_0001, "ecx", 0],
  ["lzcnt", 0x8000_0001, "ecx", 5],
  ["syscall", 0x8000_0001, "edx", 11],
  ["rdtscp", 0x8000_0001, "edx", 27],
];

/** Bits needed to number n processors. */
const idBits = (n: number): number => 32 - Math.clz32(Math.max(n, 1) - 1);

const featureBits = new WeakMap<CpuModel, Map<number, CpuidResult>>();
/** Of all leaves that have some. A kernel asks hundreds of times while it boots. */
function featureBitsOf(model: CpuModel): Map<number, CpuidResult> {
  let bits = featureBits.get(model);
  if (bits !== undefined) return bits;
  featureBits.set(model, (bits = new Map()));
  for (const [, leaf, register, bit] of [...ALWAYS, ...BY_FEATURE.filter(([name]) => model.features.has(name))]) {
    let out = bits.get(leaf);
    if (out === undefined) bits.set(leaf, (out = { eax: 0, ebx: 0, ecx: 0, edx: 0 }));
    out[register] |= 1 << bit;
  }
  return bits;
}
function addFeatureBits(model: CpuModel, leaf: number, out: CpuidResult): void {
  const bits = featureBitsOf(model).get(leaf);
  if (bits === undefined) return;
  for (const register of OUTPUTS) out[register] |= bits[register];
}

function text(out: CpuidResult, order: readonly Output[], value: string, from = 0): void {
  order.forEach((register, i) => {
    for (let k = 0; k < 4; k++) out[register] |= (value.charCodeAt(from + 4 * i + k) || 0) << (8 * k);
  });
}

function leaf1(model: CpuModel, regs: RegisterFile, out: CpuidResult): void {
  out.eax = SIGNATURE;
  const count = model.vcpus > 1 ? Math.min(model.vcpus, 255) : 0;
  out.ebx = ((regs.get32(Reg.APIC_ID) & 0xff) << 24) | (count << 16) | ((CACHE_LINE / 8) << 8);
  if (count) out.edx |= 1 << 28; // HTT: EBX tells a count
  if (regs.get32(Reg.CR4) & Cr4.OSXSAVE) out.ecx |= 1 << 27;
}

interface Cache {
  readonly type: 1 | 2 | 3;
  readonly level: number;
  readonly ways: number;
  readonly sets: number;
  readonly shared: boolean;
}

/** 32 KiB + 32 KiB, 1 MiB, and a shared last level of 32 MiB: large, because C libraries avoid REP MOVSB above a share of it. */
const CACHES: readonly Cache[] = [
  { type: 1, level: 1, ways: 8, sets: 64, shared: false },
  { type: 2, level: 1, ways: 8, sets: 64, shared: false },
  { type: 3, level: 2, ways: 16, sets: 1024, shared: false },
  { type: 3, level: 3, ways: 16, sets: 32768, shared: true },
];

function leaf4(model: CpuModel, subleaf: number, out: CpuidResult): void {
  const cache = CACHES[subleaf];
  if (!cache) return;
  const idSpace = 1 << idBits(model.vcpus);
  const sharing = cache.shared ? idSpace - 1 : 0;
  out.eax = cache.type | (cache.level << 5) | (1 << 8) | (sharing << 14) | (Math.min(idSpace - 1, 63) << 26);
  out.ebx = (CACHE_LINE - 1) | ((cache.ways - 1) << 22);
  out.ecx = cache.sets - 1;
}

/** Topology: one thread a core, all cores in one package. */
function leafB(model: CpuModel, regs: RegisterFile, subleaf: number, out: CpuidResult): void {
  out.ecx = subleaf & 0xff;
  out.edx = regs.get32(Reg.APIC_ID);
  if (subleaf === 0) {
    out.ebx = 1;
    out.ecx |= 1 << 8;
  } else if (subleaf === 1) {
    out.eax = idBits(model.vcpus);
    out.ebx = model.vcpus;
    out.ecx |= 2 << 8;
  }
}

function leafD(model: CpuModel, subleaf: number, out: CpuidResult): void {
  if (!model.features.has("xsave") || subleaf !== 0) return;
  out.eax = 3;
  out.ebx = XSAVE_SIZE;
  out.ecx = XSAVE_SIZE;
}

function basicLeaf(model: CpuModel, regs: RegisterFile, leaf: number, subleaf: number, out: CpuidResult): void {
  if (leaf === 0) {
    out.eax = MAX_BASIC;
    text(out, ["ebx", "edx", "ecx"], "GenuineIntel");
  } else if (leaf === 1) leaf1(model, regs, out);
  else if (leaf === 2) {
    out.eax = 0x00fe_ff01; // caches: see leaf 4; TLBs: none told
  } else if (leaf === 4) leaf4(model, subleaf, out);
  else if (leaf === 0xb) leafB(model, regs, subleaf, out);
  else if (leaf === 0xd) leafD(model, subleaf, out);
  else if (leaf === 0x15) {
    out.eax = 1;
    out.ebx = 1;
    out.ecx = TSC_KHZ * 1000;
  } else if (leaf === 0x16) {
    out.eax = out.ebx = out.ecx = TSC_KHZ / 1000;
  }
}

function hypervisorLeaf(model: CpuModel, leaf: number, out: CpuidResult): void {
  if (leaf === 0x4000_0000) {
    out.eax = MAX_HYPERVISOR;
    text(out, ["ebx", "ecx", "edx"], "KVMKVMKVM\0\0\0");
  } else if (leaf === 0x4000_0001) out.eax = model.kvmFeatures;
  else if (leaf === 0x4000_0010) out.eax = out.ebx = TSC_KHZ;
}

function extendedLeaf(leaf: number, out: CpuidResult): void {
  if (leaf === 0x8000_0000) out.eax = MAX_EXTENDED;
  else if (leaf >= 0x8000_0002 && leaf <= 0x8000_0004)
    text(out, ["eax", "ebx", "ecx", "edx"], BRAND, 16 * (leaf - 0x8000_0002));
  else if (leaf === 0x8000_0006) out.ecx = CACHE_LINE | (8 << 12) | (1024 << 16); // L2: 16 ways, 1 MiB
  else if (leaf === 0x8000_0008) out.eax = PHYSICAL_ADDRESS_BITS | (LINEAR_ADDRESS_BITS << 8);
}

/** What CPUID answers; leaves that do not exist are zero. @param regs of the vCPU: its APIC_ID and CR4.OSXSAVE show through */
export function cpuidLeaf(model: CpuModel, regs: RegisterFile, leaf: number, subleaf: number): CpuidResult {
  const out: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  if (leaf >= 0x8000_0000) extendedLeaf(leaf, out);
  else if (leaf >= 0x4000_0000) hypervisorLeaf(model, leaf, out);
  else basicLeaf(model, regs, leaf, subleaf, out);
  if (leaf !== 7 || subleaf === 0) addFeatureBits(model, leaf, out);
  return out;
}

function cpuid(cpu: Cpu): void {
  const { regs } = cpu;
  const out = cpuidLeaf(cpu.model, regs, Number(regs.gpr(0) & 0xffff_ffffn), Number(regs.gpr(1) & 0xffff_ffffn));
  regs.setGpr(0, BigInt(out.eax >>> 0));
  regs.setGpr(3, BigInt(out.ebx >>> 0));
  regs.setGpr(1, BigInt(out.ecx >>> 0));
  regs.setGpr(2, BigInt(out.edx >>> 0));
}

export const CPUID_CALLS: Record<string, CallSpec> = { cpuid: { args: 0, result: false, run: cpuid } };
