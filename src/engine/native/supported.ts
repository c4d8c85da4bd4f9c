/* Which instructions native code does, and how each treats the flags. What is not here is the interpreter's. */
import type { Decoded } from "../../isa/decoded.ts";
import type { Row } from "../../isa/row.ts";
import { HOST_OF, IN_MEMORY } from "./layout.ts";
import { ALL_ROWS } from "../../isa/tables/index.ts";

/** What is done with the arithmetic flags. */
export const Flags = {
  NONE: 0,
  /** All are written, or left undefined. */
  WRITES: 1,
  READS: 2,
  /** Read and written: also where some stay as they were. */
  CHANGES: 3,
} as const;

/** How an instruction is written. */
export const Way = {
  NO: 0,
  /** The same instruction with other registers and addresses. */
  SAME: 1,
  /** By a method of its own, by mnemonic. */
  OWN: 2,
  /** Nothing is to be done. */
  NOTHING: 3,
} as const;

export interface Treatment {
  readonly way: number;
  readonly flags: number;
  readonly mnemonic: string;
  /** Reads the flags with the rest of RFLAGS, or LAHF. */
  readonly readsRflags: boolean;
  /** Of the operands: Semantics.access. */
  readonly access: string;
  /** Bits of an address that must be 0. */
  readonly align: number;
  readonly sse: boolean;
  readonly x87: boolean;
  readonly vex: boolean;
  /** Does the encoding have ModRM? */
  readonly modrm: boolean;
  /** A shift, which changes no flags if it is by 0. */
  readonly shift: boolean;
  /** BT and its like, which take memory as a string of bits. */
  readonly bits: boolean;
  readonly exchange: boolean;
  /** Shapes that are left to the interpreter, because few programs have them. */
  readonly odd: ((d: Decoded) => boolean) | undefined;
}

const [RAX, RCX] = [0, 1];
const words = (text: string): Set<string> => new Set(text.split(/\s+/));
const WRITES = words(
  "add or and sub xor cmp test neg imul mul div idiv shl shr sar shld shrd bsf bsr tzcnt lzcnt popcnt xadd cmpxchg andn blsr blsmsk blsi bzhi bextr ptest comiss comisd ucomiss ucomisd pcmpestri pcmpestrm pcmpistri pcmpistrm fcomi fcomip fucomi fucomip",
);
const CHANGES = words("cmpxchg16b adc sbb inc dec rol ror rcl rcr bt bts btr btc adcx adox cmc clc stc sahf");
const SAME = words(
  "add or adc sbb and sub xor cmp test mov movsxd movzx movsx xchg lea not neg imul inc dec rol ror rcl rcr shl shr sar shld shrd bt bts btr btc bsf bsr tzcnt lzcnt popcnt xadd movbe crc32 movnti adcx adox andn blsr blsmsk blsi bzhi pext pdep mulx bextr shlx sarx shrx rorx",
);
const OWN = words(
  "mul div idiv cbw cwd push pop leave call ret jmp jrcxz cmpxchg bswap lahf sahf cmc clc stc pause mfence lfence sfence pcmpestri pcmpestrm cmpxchg16b",
);
/** In kernel-instructions.ts. */
const KERNEL = words(
  "cli sti pushf stac clac swapgs rdfsbase rdgsbase wrfsbase wrgsbase rdtsc rdtscp syscall sysret movs movsb stos stosb ldmxcsr stmxcsr",
);
const READS_RFLAGS = words("pushf lahf syscall sysret");
const PRIVILEGED = words("swapgs sysret");
const NOTHING = words("nop endbr64 prefetchw");
const NOT_SSE = words("maskmovdqu");
/** Those that tell where the last instruction was. */
const NOT_X87 = words("fldenv fnstenv frstor fnsave");
/** Their operands are implied, or are no registers of the two kinds. */
const OTHER_OPERANDS = /^(?:[CDS]R\d|[CDES]S|[FG]S|S[wd]|Cd|Dd|O[bv]|Rd\/Cd)$/;

const SHIFTS = words("shl shr sar shld shrd");
const BIT_STRINGS = words("bt bts btr btc");

/** MOV r, Sreg. */
const isFromSegment = ({ map, opcode }: Row): boolean => map === 0 && opcode === 0x8c;

function wayOf(row: Row): number {
  const { mnemonic, unit, cc } = row;
  if (isFromSegment(row) || KERNEL.has(mnemonic))
    return row.privileged === true && !PRIVILEGED.has(mnemonic) ? Way.NO : Way.OWN;
  if (row.privileged === true || row.operands.some((code) => OTHER_OPERANDS.test(code))) return Way.NO;
  if (unit === "sse") {
    if (NOT_SSE.has(mnemonic) || row.operands.some((code) => /^[PQN]/.test(code))) return Way.NO;
    return OWN.has(mnemonic) ? Way.OWN : Way.SAME;
  }
  if (unit === "x87") return row.map === 0 && !NOT_X87.has(mnemonic) ? Way.OWN : Way.NO;
  if (unit !== undefined) return Way.NO;
  if (NOTHING.has(mnemonic)) return Way.NOTHING;
  if (cc !== undefined) return mnemonic.startsWith("j") ? Way.OWN : Way.SAME;
  if (OWN.has(mnemonic) || isOneOperand(row)) return Way.OWN;
  return SAME.has(mnemonic) ? Way.SAME : Way.NO;
}
/** IMUL that is like MUL. */
const isOneOperand = ({ mnemonic, operands }: Row): boolean => mnemonic === "imul" && operands.length === 1;

function flagsOf(row: Row, way: number): number {
  const { mnemonic, cc } = row;
  if (way === Way.NOTHING || isFromSegment(row) || KERNEL.has(mnemonic)) return Flags.NONE;
  if (CHANGES.has(mnemonic)) return Flags.CHANGES;
  if (WRITES.has(mnemonic)) return Flags.WRITES;
  if (row.unit === "x87" && mnemonic.startsWith("fcmov")) return Flags.READS;
  return cc === undefined ? Flags.NONE : Flags.READS;
}

/** Flags that a shift changes only if it is not by 0. */
function isShiftOfNone(d: Decoded): boolean {
  const { kind, source } = d.operands[d.operandCount - 1];
  if (source === "fixed" && kind === "imm") return false;
  return kind === "gpr" || (d.imm32 & (d.size === 8 ? 63 : 31)) === 0;
}
/** What the instruction does with the flags: a shift by 0, or perhaps by 0, keeps them. */
export function effectOnFlags(d: Decoded): number {
  const { flags, shift } = treatment(d.row);
  return shift && isShiftOfNone(d) ? Flags.CHANGES : flags;
}
/** The same, where also those count that read RFLAGS. */
export function liveness(d: Decoded): number {
  return treatment(d.row).readsRflags ? Flags.READS : effectOnFlags(d);
}

const isMemory = (d: Decoded): boolean => d.operands[0].kind === "mem";
const hasHigh = (d: Decoded): boolean => d.operands[0].highByte || (d.operandCount > 1 && d.operands[1].highByte);
const isNot64 = (d: Decoded): boolean => d.size !== 8;
const isOddBranch = (d: Decoded): boolean => d.row.size !== "64" || (d.operandCount > 0 && d.operands[0].width === 2);
const isSingle = (d: Decoded): boolean => d.rep === 0 || d.segment >= 4;
/** CL is turned with CH. */
const isByCl = (d: Decoded): boolean =>
  d.operands[0].highByte && d.operands[0].reg === RCX && d.operands[1].kind === "gpr";

const isWord = (d: Decoded): boolean => d.size === 2;
const ODD: Readonly<Record<string, (d: Decoded) => boolean>> = {
  // counts above 16 are undefined, and done in two ways by the processors that there are
  shld: isWord,
  shrd: isWord,
  push: (d) => isNot64(d) || d.operands[0].kind === "seg",
  pop: (d) => isNot64(d) || d.operands[0].kind === "seg" || isMemory(d),
  leave: isNot64,
  pushf: isNot64,
  sysret: isNot64,
  call: isOddBranch,
  jmp: isOddBranch,
  ret: isOddBranch,
  jrcxz: (d) => isOddBranch(d) || d.addressSize === 4,
  div: (d) => d.size < 4,
  idiv: (d) => d.size < 4,
  mul: hasHigh,
  xchg: hasHigh,
  xadd: hasHigh,
  // by a register, memory is a string of bits, and that would be what stands for a register
  ...Object.fromEntries([...BIT_STRINGS].map((name) => [name, isOddBit])),
  ...Object.fromEntries("rol ror rcl rcr shl shr sar".split(" ").map((name) => [name, isByCl])),
  movs: isSingle,
  movsb: isSingle,
  stos: isSingle,
  stosb: isSingle,
  cmpxchg: (d) =>
    hasHigh(d) || (!isMemory(d) && (d.operands[0].reg === RAX || HOST_OF[d.operands[0].reg] === IN_MEMORY)),
};
function isOddBit(d: Decoded): boolean {
  const [a, b] = d.operands;
  if (b.kind === "imm") return false;
  if (a.kind === "mem") return d.size === 2;
  return a.reg !== b.reg && HOST_OF[a.reg] === IN_MEMORY && HOST_OF[b.reg] === IN_MEMORY;
}
function oddOf(row: Row): ((d: Decoded) => boolean) | undefined {
  if (isFromSegment(row)) return isMemory;
  return isOneOperand(row) ? hasHigh : ODD[row.mnemonic];
}

function treatmentOf(row: Row): Treatment {
  const { map, opcode, mnemonic } = row;
  const way = wayOf(row);
  const noModrm =
    map === 0 &&
    (opcode < 0x40
      ? (opcode & 7) >= 4
      : opcode === 0xa8 || opcode === 0xa9 || (opcode >= 0x90 && opcode <= 0x97) || (opcode >= 0xb0 && opcode <= 0xbf));
  return {
    way,
    flags: flagsOf(row, way),
    mnemonic: isFromSegment(row) ? "movseg" : mnemonic,
    readsRflags: READS_RFLAGS.has(mnemonic),
    access: row.semantics.access,
    align: row.aligned === true ? 15 : 0,
    sse: row.unit === "sse",
    x87: way === Way.OWN && row.unit === "x87",
    vex: row.vex !== undefined,
    modrm: !noModrm,
    shift: SHIFTS.has(mnemonic),
    bits: BIT_STRINGS.has(mnemonic),
    exchange: mnemonic === "xchg",
    odd: oddOf(row),
  };
}

let treatments: Treatment[] | undefined;
const leftOut = new Set<string>();

/** From now on instructions of these features, or with these mnemonics, are the interpreter's: this host has them not, or they are not to be done by it. */
export function leaveOut(names: Iterable<string>): void {
  for (const name of names) leftOut.add(name);
  treatments = ALL_ROWS.map(treatmentOf).map((t, id) => {
    const { feature, mnemonic } = ALL_ROWS[id];
    return leftOut.has(mnemonic) || (feature !== undefined && leftOut.has(feature)) ? { ...t, way: Way.NO } : t;
  });
}

/** How instructions of that row are treated. */
export function treatment(row: Row): Treatment {
  treatments ??= ALL_ROWS.map(treatmentOf);
  return treatments[row.id];
}

/** Can the instruction be a part of native code? */
export function isSupported(d: Decoded): boolean {
  const t = treatment(d.row);
  if (t.way === Way.NO) return false;
  let high = -1;
  let inMemory = -1;
  for (let i = 0; i < d.operandCount; i++) {
    const { kind, reg, highByte, source } = d.operands[i];
    if (kind === "mem" && d.addressSize === 4) return false;
    if (kind !== "gpr") continue;
    if (highByte && high >= 0 && high !== reg) return false;
    if (highByte) high = reg;
    if (!t.vex || source === "rm" || HOST_OF[reg] !== IN_MEMORY) continue;
    if (inMemory >= 0 && inMemory !== reg) return false;
    inMemory = reg;
  }
  return t.odd?.(d) !== true;
}
