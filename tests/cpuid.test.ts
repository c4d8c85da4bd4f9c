/* CPUID tells the truth, in both directions: what it reports is there, and nothing is there that it does not report. The lists of instructions are the
 * manual's own (SDM vol. 1 ch. 5), not read off the tables. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ApicMsr } from "../src/device/local-apic.ts";
import { testMachine } from "../src/device/test-machine.ts";
import { createDecoder, newDecoded } from "../src/isa/decode.ts";
import { CPU_FEATURES } from "../src/isa/features.ts";
import { Reg } from "../src/isa/registers.ts";
import { CONDITIONS } from "../src/isa/sem.ts";
import { CALLS } from "../src/isa/system/calls.ts";
import { Cr4 } from "../src/isa/system/control-registers.ts";
import { cpuModel } from "../src/isa/system/cpu-model.ts";
import { cpuidLeaf } from "../src/isa/system/cpuid.ts";
import { FakeCpu } from "../src/isa/system/fake-cpu.ts";
import { ARCH_CAPABILITIES, readMsr, writeMsr } from "../src/isa/system/msr.ts";
import { ALL_ROWS } from "../src/isa/tables/index.ts";

const words = (text: string): string[] => text.trim().split(/\s+/);
/** "padd{b,w}" → paddb paddw */
const spell = (text: string): string[] =>
  words(text).flatMap((word) => {
    const match = /^(.*?)\{(.*?)\}(.*)$/.exec(word);
    return match
      ? spell(
          match[2]!
            .split(",")
            .map((part) => match[1]! + part + match[3]!)
            .join(" "),
        )
      : [word];
  });

/** The instructions that a feature brings. @source SDM vol. 1 §5.4–5.12, vol. 2 under each mnemonic (column "CPUID Feature Flag") */
const INSTRUCTIONS: Readonly<Record<string, string>> = {
  cmov: CONDITIONS.map((cc) => `cmov${cc}`).join(" "),
  cx8: "cmpxchg8b",
  cx16: "cmpxchg16b",
  mmx: `emms movd movq packss{wb,dw} packuswb padd{b,w,d,sb,sw,usb,usw} psub{b,w,d,sb,sw,usb,usw} pmaddwd pmulhw pmullw pand pandn por pxor
    pcmpeq{b,w,d} pcmpgt{b,w,d} psll{w,d,q} psrl{w,d,q} psra{w,d} punpck{l,h}{bw,wd,dq}`,
  sse: `{add,sub,mul,div,sqrt,min,max,rcp,rsqrt,cmp}{ps,ss} {and,andn,or,xor}ps {u,}comiss shufps unpck{l,h}ps mov{aps,ups,hps,lps,hlps,lhps,ss} movmskps
    cvtpi2ps cvtps2pi cvttps2pi cvtsi2ss cvtss2si cvttss2si ldmxcsr stmxcsr movntps movntq maskmovq
    pavg{b,w} pextrw pinsrw pmaxsw pmaxub pminsw pminub pmovmskb pmulhuw psadbw pshufw`,
  sse2: `{add,sub,mul,div,sqrt,min,max,cmp}{pd,sd} {and,andn,or,xor}pd {u,}comisd shufpd unpck{l,h}pd mov{apd,upd,hpd,lpd,sd} movmskpd
    cvtpd2pi cvttpd2pi cvtpi2pd cvtpd2dq cvttpd2dq cvtdq2pd cvtps2pd cvtpd2ps cvtss2sd cvtsd2ss cvtsd2si cvttsd2si cvtsi2sd cvtdq2ps cvtps2dq cvttps2dq
    movd movq movdqa movdqu movq2dq movdq2q paddq psubq pmuludq pshuf{lw,hw,d} ps{l,r}ldq punpck{l,h}qdq maskmovdqu movntpd movntdq movnti
    packss{wb,dw} packuswb padd{b,w,d,sb,sw,usb,usw} psub{b,w,d,sb,sw,usb,usw} pmaddwd pmulhw pmullw pand pandn por pxor pcmpeq{b,w,d} pcmpgt{b,w,d}
    psll{w,d,q} psrl{w,d,q} psra{w,d} punpck{l,h}{bw,wd,dq} pavg{b,w} pextrw pinsrw pmaxsw pmaxub pminsw pminub pmovmskb pmulhuw psadbw`,
  sse3: "addsub{ps,pd} hadd{ps,pd} hsub{ps,pd} lddqu movddup movsldup movshdup",
  ssse3: "phadd{w,sw,d} phsub{w,sw,d} pabs{b,w,d} pmaddubsw pmulhrsw pshufb psign{b,w,d} palignr",
  "sse4.1": `pmulld pmuldq dp{ps,pd} movntdqa blend{ps,pd} blendv{ps,pd} pblendvb pblendw pmin{uw,ud,sb,sd} pmax{uw,ud,sb,sd} round{ps,pd,ss,sd}
    extractps insertps pinsr{b,d,q} pextr{b,w,d,q} pmov{s,z}x{bw,bd,bq,wd,wq,dq} mpsadbw phminposuw ptest pcmpeqq packusdw`,
  "sse4.2": "pcmpestr{i,m} pcmpistr{i,m} pcmpgtq crc32",
  popcnt: "popcnt",
  lahf: "lahf sahf",
  bmi1: "andn bextr blsi blsmsk blsr tzcnt",
  bmi2: "bzhi mulx pdep pext rorx sarx shlx shrx",
  lzcnt: "lzcnt",
  movbe: "movbe",
  adx: "adcx adox",
  fsgsbase: "{rd,wr}{fs,gs}base",
  invpcid: "invpcid",
  rdrand: "rdrand",
  rdseed: "rdseed",
  xsave: "xsave xsave64 xrstor xrstor64 xgetbv xsetbv",
  fxsr: "fxsave fxsave64 fxrstor fxrstor64",
  clflush: "clflush",
  clflushopt: "clflushopt",
  rdtscp: "rdtscp",
  smap: "clac stac",
  syscall: "syscall sysret",
  aes: "aes{enc,enclast,dec,declast,imc,keygenassist}",
  sha: "sha1{rnds4,nexte,msg1,msg2} sha256{rnds2,msg1,msg2}",
  pclmulqdq: "pclmulqdq",
  pcid: "",
  erms: "",
  fsrm: "",
};

/** Not told, and so #UD: rows that wait for a CPU model that tells them. */
const OFF = new Set(["sep", "monitor"]);

const decoder = createDecoder();
const decodes = (hex: string): boolean => {
  const bytes = new Uint8Array(Buffer.from(hex, "hex"));
  return decoder.decode(bytes, 0, bytes.length, newDecoded()) === undefined;
};

const cpu = (): FakeCpu => {
  const fake = new FakeCpu();
  fake.regs.set64(Reg.CR4, BigInt(Cr4.PAE));
  fake.regs.set64(Reg.CR3, 0n);
  return fake;
};
/** MOV CR4 takes the bit. */
const control4 = (bit: number) => (): boolean => {
  const fake = cpu();
  CALLS["writeCr"]!.run(fake, 4n, BigInt(Cr4.PAE | bit));
  return (fake.regs.get32(Reg.CR4) & bit) === bit;
};
const msr = (index: number) => (): boolean => readMsr(cpu(), index) !== undefined;
const efer = (bit: bigint) => (): boolean => {
  const fake = cpu();
  fake.regs.set64(Reg.EFER, 0x500n);
  return writeMsr(fake, 0xc000_0080, 0x500n | bit) && (fake.regs.get64(Reg.EFER) & bit) === bit;
};
const deviceMsr = (index: number) => (): boolean =>
  testMachine({ vcpus: 1 }).devices.localApics.apics[0]!.readMsr(index) !== undefined;
const encoding =
  (...hex: string[]) =>
  (): boolean =>
    hex.every(decodes);
/** Every instruction of the feature has a row. */
const instructions = (feature: string) => (): boolean =>
  INSTRUCTIONS[feature] !== undefined && CPU_FEATURES.has(feature);

type Output = "eax" | "ebx" | "ecx" | "edx";
/** Every bit that CPUID may report: where it is, and what shows that it is true. */
const BITS: readonly (readonly [leaf: number, register: Output, bit: number, name: string, isThere: () => boolean])[] =
  [
    [1, "edx", 0, "fpu", encoding("d9e8", "dec1", "db2c24")],
    [1, "edx", 2, "de", control4(Cr4.DE)],
    [1, "edx", 3, "pse", control4(Cr4.PSE)],
    [1, "edx", 4, "tsc", encoding("0f31")],
    [1, "edx", 5, "msr", encoding("0f30", "0f32")],
    [1, "edx", 6, "pae", control4(Cr4.PAE)],
    [1, "edx", 8, "cx8", instructions("cx8")],
    [1, "edx", 9, "apic", deviceMsr(ApicMsr.TPR)],
    [1, "edx", 13, "pge", control4(Cr4.PGE)],
    [1, "edx", 15, "cmov", instructions("cmov")],
    [1, "edx", 16, "pat", msr(0x277)],
    [1, "edx", 19, "clflush", instructions("clflush")],
    [1, "edx", 23, "mmx", instructions("mmx")],
    [1, "edx", 24, "fxsr", instructions("fxsr")],
    [1, "edx", 25, "sse", instructions("sse")],
    [1, "edx", 26, "sse2", instructions("sse2")],
    [1, "ecx", 0, "sse3", instructions("sse3")],
    [1, "ecx", 1, "pclmulqdq", instructions("pclmulqdq")],
    [1, "ecx", 9, "ssse3", instructions("ssse3")],
    [1, "ecx", 13, "cx16", instructions("cx16")],
    [1, "ecx", 17, "pcid", control4(Cr4.PCIDE)],
    [1, "ecx", 19, "sse4.1", instructions("sse4.1")],
    [1, "ecx", 20, "sse4.2", instructions("sse4.2")],
    [1, "ecx", 21, "x2apic", deviceMsr(ApicMsr.ID)],
    [1, "ecx", 22, "movbe", instructions("movbe")],
    [1, "ecx", 23, "popcnt", instructions("popcnt")],
    [1, "ecx", 25, "aes", instructions("aes")],
    [1, "ecx", 24, "tsc-deadline", deviceMsr(ApicMsr.TSC_DEADLINE)],
    [1, "ecx", 26, "xsave", instructions("xsave")],
    [1, "ecx", 30, "rdrand", instructions("rdrand")],
    [1, "ecx", 31, "hypervisor", () => leaf(0x4000_0000).eax !== 0],
    [6, "eax", 2, "arat", deviceMsr(ApicMsr.TSC_DEADLINE)], // the timer is no part of a processor that sleeps
    [7, "ebx", 0, "fsgsbase", instructions("fsgsbase")],
    [7, "ebx", 1, "tsc-adjust", msr(0x3b)],
    [7, "ebx", 3, "bmi1", instructions("bmi1")],
    [7, "ebx", 7, "smep", control4(Cr4.SMEP)],
    [7, "ebx", 8, "bmi2", instructions("bmi2")],
    [7, "ebx", 9, "erms", encoding("f3a4", "f3aa")],
    [7, "ebx", 10, "invpcid", instructions("invpcid")],
    [7, "ebx", 18, "rdseed", instructions("rdseed")],
    [7, "ebx", 19, "adx", instructions("adx")],
    [7, "ebx", 20, "smap", control4(Cr4.SMAP)],
    [7, "ebx", 29, "sha", instructions("sha")],
    [7, "ebx", 23, "clflushopt", instructions("clflushopt")],
    [7, "edx", 4, "fsrm", encoding("f3a4")],
    [7, "edx", 29, "arch-capabilities", () => readMsr(cpu(), 0x10a) === ARCH_CAPABILITIES],
    [0x8000_0001, "ecx", 0, "lahf", instructions("lahf")],
    [0x8000_0001, "ecx", 5, "lzcnt", instructions("lzcnt")],
    [0x8000_0001, "ecx", 8, "prefetchw", encoding("0f0d08")],
    [0x8000_0001, "edx", 11, "syscall", efer(1n)],
    [0x8000_0001, "edx", 20, "nx", efer(1n << 11n)],
    [0x8000_0001, "edx", 26, "pdpe1gb", () => true], // paging.test.ts walks 1 GiB pages
    [0x8000_0001, "edx", 27, "rdtscp", instructions("rdtscp")],
    [0x8000_0001, "edx", 29, "lm", efer(1n << 8n)],
  ];

const leaf = (n: number): Record<Output, number> => cpuidLeaf(cpuModel(1, undefined, CPU_FEATURES), cpu().regs, n, 0);
const FEATURE_REGISTERS: readonly (readonly [number, readonly Output[]])[] = [
  [1, ["ecx", "edx"]],
  [6, ["eax", "ecx"]],
  [7, ["ebx", "ecx", "edx"]],
  [0x8000_0001, ["ecx", "edx"]],
  [0x8000_0007, ["edx"]],
];

function reportedBits(): string[] {
  const found: string[] = [];
  for (const [n, registers] of FEATURE_REGISTERS) {
    for (const register of registers) {
      for (let bit = 0; bit < 32; bit++)
        if ((leaf(n)[register] >>> bit) & 1) found.push(`${n.toString(16)}.${register}.${bit}`);
    }
  }
  return found;
}

describe("CPUID", () => {
  test("reports the bits of the list and no others", () => {
    assert.deepEqual(
      reportedBits().toSorted(),
      BITS.map(([n, register, bit]) => `${n.toString(16)}.${register}.${bit}`).toSorted(),
    );
  });

  for (const [, , , name, isThere] of BITS) test(`what ${name} promises is there`, () => assert.ok(isThere()));

  for (const [feature, list] of Object.entries(INSTRUCTIONS)) {
    test(`the rows of ${feature} are the manual's instructions of it`, () => {
      const rows = new Set(ALL_ROWS.filter((row) => row.feature === feature).map((row) => row.mnemonic));
      assert.deepEqual([...rows].toSorted(), [...new Set(spell(list))].filter(Boolean).toSorted());
    });
  }

  test("the decoder's features are those of the list, each with a bit", () => {
    assert.deepEqual([...CPU_FEATURES].toSorted(), Object.keys(INSTRUCTIONS).toSorted());
    const names = new Set(BITS.map(([, , , name]) => name));
    assert.deepEqual(
      [...CPU_FEATURES].filter((feature) => !names.has(feature)),
      [],
    );
  });

  test("no row needs a feature that is not told, but those that are off", () => {
    const needed = new Set(ALL_ROWS.map((row) => row.feature).filter((feature) => feature !== undefined));
    assert.deepEqual([...needed].filter((feature) => !CPU_FEATURES.has(feature)).toSorted(), [...OFF].toSorted());
    for (const hex of ["0f34", "0f35", "0f01c8", "0f01c9"]) assert.ok(!decodes(hex), `${hex} is #UD`);
  });

  test("what other processors have is neither told nor there", () => {
    // RDPID, VADDPS, XSAVEC, RDPKRU, WAITPKG's TPAUSE, 3DNow!'s FEMMS
    for (const hex of ["f30fc7f8", "c5f058c2", "0fc72424", "0f01ee", "660faef0", "0f0e"]) {
      assert.ok(!decodes(hex), `${hex} is #UD`);
    }
  });
});
