/* System instructions: their operands here, their work in calls (src/isa/system). Privilege is a column of the row.
 * @source SDM vol. 2A–2C, the instructions' pages; vol. 3A ch. 2–6 */
import { Reg, SegmentIndex } from "../registers.ts";
import { semantics, type Sem, type Semantics } from "../sem.ts";

/** A call with nothing but its name. */
export const plainCall = (name: string): Semantics =>
  semantics("", (s) => {
    s.call(name);
  });
/** A call with the operand size in bytes: SYSEXIT. */
export const sizedCall = (name: string): Semantics =>
  semantics("", (s) => {
    s.call(name, s.const(s.size));
  });
/** A call with the linear address of memory operand 0: LGDT, SGDT, INVLPG. */
export const addressCall = (name: string): Semantics =>
  semantics("-", (s) => {
    s.call(name, s.linearAddress(0));
  });
/** A call with operand 0's value: LLDT, LTR, LMSW, INT. */
export const valueCall = (name: string): Semantics =>
  semantics("r", (s) => {
    s.call(name, s.get(0));
  });

// ——— segment registers: operand that names one is only for the disassembler, the number comes from the row ———
const selector = <V>(s: Sem<V>, index: number): V => s.and(s.field(Reg.SEG + 16 * index, 4), s.const(0xffff));

/** MOV r/m16, Sreg; SLDT, STR. */
export const storeSelector = (index: number): Semantics => semantics("w-", (s) => s.put(0, selector(s, index)));
export const loadSegment = (index: number): Semantics =>
  semantics("-r", (s) => {
    s.call("loadSegment", s.const(index), s.get(1));
  });
/** LFS, LGS, LSS: far pointer at operand 1, offset first. */
export const loadFarPointer = (index: number): Semantics =>
  semantics("w-", (s) => {
    const address = s.linearAddress(1);
    const offset = s.load(address, s.size);
    s.call("loadSegment", s.const(index), s.load(s.add(address, s.const(s.size)), 2));
    s.put(0, offset);
  });

const farIndirect = (name: "jmpFar" | "callFar"): Semantics =>
  semantics("-", (s) => {
    const address = s.linearAddress(0);
    const offset = s.load(address, s.size);
    s.call(name, s.load(s.add(address, s.const(s.size)), 2), offset, s.const(s.size));
  });
export const JMP_FAR = farIndirect("jmpFar");
export const CALL_FAR = farIndirect("callFar");
export const RETF = semantics("", (s) => {
  s.call("retFar", s.const(s.size), s.const(0));
});
export const RETF_POP = semantics("r", (s) => {
  s.call("retFar", s.const(s.size), s.get(0));
});

// ——— control and debug registers ———
const CR_FIELDS: ReadonlyMap<number, number> = new Map([
  [0, Reg.CR0],
  [2, Reg.CR2],
  [3, Reg.CR3],
  [4, Reg.CR4],
]);
export const readCr = (n: number): Semantics => {
  const field = CR_FIELDS.get(n);
  return semantics("w-", (s) => s.put(0, field === undefined ? s.call("readCr", s.const(n)) : s.field(field, 8)));
};
export const writeCr = (n: number): Semantics =>
  semantics("-r", (s) => {
    s.call("writeCr", s.const(n), s.get(1));
  });
export const readDr = (n: number): Semantics => semantics("w-", (s) => s.put(0, s.call("readDr", s.const(n))));
export const writeDr = (n: number): Semantics =>
  semantics("-r", (s) => {
    s.call("writeDr", s.const(n), s.get(1));
  });
export const SMSW = semantics("w", (s) => s.put(0, s.field(Reg.CR0, 8)));

// ——— descriptors: ZF tells whether the selector is good ———
const descriptorQuery = (name: "lar" | "lsl"): Semantics =>
  semantics("wr", (s) => {
    const answer = s.call(name, s.get(1));
    const valid = s.shrU(answer, s.const(32)); // see VALID in system/segments.ts
    s.when(valid, () => s.put(0, s.zext(answer, 4)));
    s.setFlags({ ZF: valid });
  });
const verify = (name: "verr" | "verw"): Semantics => semantics("r", (s) => s.setFlags({ ZF: s.call(name, s.get(0)) }));
export const VERR = verify("verr");
export const VERW = verify("verw");
export const LAR = descriptorQuery("lar");
export const LSL = descriptorQuery("lsl");

export const INVPCID = semantics("r-", (s) => {
  s.call("invpcid", s.get(0), s.linearAddress(1));
});

// ——— FS and GS bases ———
const CR4_FSGSBASE = 1 << 16;
function requireFsgsbase<V>(s: Sem<V>): void {
  s.when(s.isZero(s.and(s.field(Reg.CR4, 4), s.const(CR4_FSGSBASE))), () => s.raise("#UD"));
}
const readBase = (offset: number): Semantics =>
  semantics("w", (s) => {
    requireFsgsbase(s);
    s.put(0, s.field(offset, 8));
  });
const writeBase = (offset: number): Semantics =>
  semantics("r", (s) => {
    requireFsgsbase(s);
    const base = s.get(0);
    s.when(s.ne(s.shrS(s.shl(base, s.const(16)), s.const(16)), base), () => s.raise("#GP")); // not canonical
    s.setField(offset, 8, base);
  });
export const RDFSBASE = readBase(Reg.FS_BASE);
export const RDGSBASE = readBase(Reg.GS_BASE);
export const WRFSBASE = writeBase(Reg.FS_BASE);
export const WRGSBASE = writeBase(Reg.GS_BASE);

/** RDRAND, RDSEED: always a value, so CF = 1. */
export const RDRAND = semantics("w", (s) => {
  s.put(0, s.call("rdrand"));
  s.writeFlags(s.const(1));
});

// ——— time ———
const CR4_TSD = 1 << 2;
/** TSC in EDX:EAX. */
function readTsc<V>(s: Sem<V>): void {
  const hidden = s.ne(s.and(s.field(Reg.CR4, 4), s.const(CR4_TSD)), s.const(0));
  s.when(s.and(hidden, s.ne(s.field(Reg.CPL, 4), s.const(0))), () => s.raise("#GP"));
  const tsc = s.call("tsc");
  s.setReg(0, 4, s.zext(tsc, 4));
  s.setReg(2, 4, s.shrU(tsc, s.const(32)));
}
/** @source SDM vol. 2B "RDTSC", "RDTSCP"; vol. 3B §18.17 */
export const RDTSC = semantics("", readTsc);
export const RDTSCP = semantics("", (s) => {
  readTsc(s);
  s.setReg(1, 4, s.field(Reg.TSC_AUX, 4));
});

// ——— ports ———
export const IN = semantics("wr", (s) => s.put(0, s.call("portIn", s.get(1), s.const(s.width(0)))));
export const OUT = semantics("rr", (s) => {
  s.call("portOut", s.get(0), s.const(s.width(1)), s.get(1));
});

export const SLDT = storeSelector(SegmentIndex.LDTR);
export const STR = storeSelector(SegmentIndex.TR);
