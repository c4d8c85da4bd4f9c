/* Rows of the instruction tables, compiled for the decoder: per map and opcode a list of candidates, most specific
 * first, whose columns are bit masks. Built once; read only afterwards.
 * @source SDM vol. 2D §A.2 (opcode map notation), vol. 2A §2.1–2.3 (prefixes, VEX) */
import { needsModrm, operandSpec, type OperandSpec } from "./operands.ts";
import type { Row } from "./row.ts";

/** Mandatory-prefix state of an instruction; F2 and F3 win over 66. */
export const PREFIX_NONE = 1;
export const PREFIX_66 = 2;
export const PREFIX_F3 = 4;
export const PREFIX_F2 = 8;
const PREFIX_MASK = { none: PREFIX_NONE, "66": PREFIX_66, F3: PREFIX_F3, F2: PREFIX_F2 } as const;

/** Operand-size rule of a row. */
export const SIZE_NORMAL = 0; // W, then 66h, then 4
export const SIZE_BYTE = 1;
export const SIZE_64 = 2;
export const SIZE_DEFAULT_64 = 3; // 8, or 2 with 66h
export const SIZE_32 = 4;
export const SIZE_W = 5; // 66h is a mandatory prefix and says nothing about the size

export interface Candidate {
  readonly row: Row;
  readonly specs: readonly OperandSpec[];
  readonly prefixes: number;
  /** Bit 0: ModRM.mod 3 fits; bit 1: a memory form fits. */
  readonly mods: number;
  /** −1 any. */
  readonly ext: number;
  readonly rm: number;
  /** Low three opcode bits with REX.B (NOP is XCHG rAX, rAX and nothing else). */
  readonly opcodeRegister: number;
  readonly needsReg: number;
  readonly w: number;
  readonly vexL: number;
  /** VEX.vvvv names an operand; else it must be 1111. */
  readonly usesVvvv: boolean;
  readonly sizeRule: number;
  readonly modrm: boolean;
  /** MOV CR and DR: mod is ignored, rm is a register. */
  readonly modIgnored: boolean;
  /** 0 no REP; 1 REP; 2 REPE and REPNE (SCAS, CMPS). */
  readonly repeats: 0 | 1 | 2;
  readonly lockable: boolean;
  /** XCHG with memory locks without a prefix. */
  readonly alwaysLocked: boolean;
  /** POP with memory: the address is computed after RSP has grown. */
  readonly popsMemory: boolean;
}

export interface OpcodeSlot {
  readonly modrm: boolean;
  readonly candidates: readonly Candidate[];
}

function sizeRule(row: Row): number {
  if (row.size === "byte") return SIZE_BYTE;
  if (row.size === "64") return SIZE_64;
  if (row.size === "d64") return SIZE_DEFAULT_64;
  if (row.size === "32") return SIZE_32;
  const sized = row.operands.some((code) => /^(?:[A-Z]|sI)+[vz]|AX$/.test(code));
  return row.prefix === "66" && !sized ? SIZE_W : SIZE_NORMAL;
}

function allowedMods(row: Row, specs: readonly OperandSpec[]): number {
  let mods = row.mod === "reg" ? 1 : row.mod === "mem" ? 2 : 3;
  for (const spec of specs) {
    if (spec.place !== "rm") continue;
    if (!spec.allowsRegister) mods &= 2;
    if (!spec.allowsMemory) mods &= 1;
  }
  return mods;
}

function repeats(row: Row, specs: readonly OperandSpec[]): 0 | 1 | 2 {
  if (!specs.some((s) => s.place === "si" || s.place === "di")) return 0;
  return /^(scas|cmps)/.test(row.mnemonic) ? 2 : 1;
}

function compile(row: Row): Candidate {
  const specs = row.operands.map(operandSpec);
  const modrm = specs.some(needsModrm) || row.ext !== undefined || row.mod !== undefined;
  const control = specs.find((s) => s.needsReg >= 0);
  const mods = control ? 3 : allowedMods(row, specs);
  if (mods === 0) throw new Error(`${row.mnemonic}: operands fit neither register nor memory`);
  return {
    row,
    specs,
    modrm,
    mods,
    prefixes: row.prefix ? PREFIX_MASK[row.prefix] : 15,
    ext: row.ext ?? -1,
    rm: modrm ? (row.rm ?? -1) : -1,
    opcodeRegister: modrm ? -1 : (row.rm ?? -1),
    needsReg: control ? control.needsReg : -1,
    w: row.w ?? row.vex?.w ?? -1,
    vexL: row.vex?.l ?? -1,
    usesVvvv: specs.some((s) => s.place === "vvvv"),
    sizeRule: sizeRule(row),
    modIgnored: control !== undefined,
    repeats: repeats(row, specs),
    lockable: row.lock === true,
    alwaysLocked: row.mnemonic === "xchg",
    popsMemory: row.mnemonic === "pop" && modrm,
  };
}

const specificity = (c: Candidate): number =>
  (c.row.prefix ? 16 : 0) +
  (c.rm >= 0 || c.opcodeRegister >= 0 ? 8 : 0) +
  (c.ext >= 0 ? 4 : 0) +
  (c.mods !== 3 ? 2 : 0) +
  (c.w >= 0 ? 1 : 0);

/** Opcode slots: index (vex ? 1024 : 0) + map · 256 + opcode; undefined where there is no row. */
export function compileRows(rows: readonly Row[], features: ReadonlySet<string>): (OpcodeSlot | undefined)[] {
  const lists: (Candidate[] | undefined)[] = Array.from({ length: 2048 });
  for (const row of rows) {
    if (row.feature !== undefined && !features.has(row.feature)) continue;
    const candidate = compile(row);
    const span = candidate.specs.some((s) => s.place === "opcode") ? 8 : 1;
    for (let i = 0; i < span; i++) {
      const at = (row.vex ? 1024 : 0) + row.map * 256 + row.opcode + i;
      (lists[at] ??= []).push(candidate);
    }
  }
  return lists.map((list) => {
    if (!list) return undefined;
    list.sort((a, b) => specificity(b) - specificity(a));
    return { modrm: list.some((c) => c.modrm), candidates: list };
  });
}
