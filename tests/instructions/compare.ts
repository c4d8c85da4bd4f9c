/* Says where two outcomes of a case differ, and what about them the manual leaves open. */
import { RegisterFile } from "../../src/isa/register-file.ts";
import { GPR_NAMES, Reg, Rflags } from "../../src/isa/registers.ts";
import type { Row } from "../../src/isa/row.ts";
import { presentTags } from "../native/fxsave.ts";
import { type Fault, type MemoryPatch, type Outcome } from "./case.ts";

export interface Difference {
  readonly field: string;
  readonly expected: string;
  readonly actual: string;
}

const WORDS: readonly (readonly [string, number, 2 | 4 | 8])[] = [
  ...GPR_NAMES.map((name, n) => [name, Reg.GPR + 8 * n, 8] as const),
  ["RIP", Reg.RIP, 8],
  ["FS base", Reg.FS_BASE, 8],
  ["GS base", Reg.GS_BASE, 8],
  ["MXCSR", Reg.MXCSR, 4],
  ["FCW", Reg.FCW, 2],
  ["FSW", Reg.FSW, 2],
];

const hex = (n: bigint | number): string => `0x${n.toString(16)}`;
const bytesHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** RFLAGS bits that a row leaves undefined. Its column is a list of flag names ("OF AF") or of their letters ("OSZAPC"). */
export function undefinedFlags(row: Row): number {
  const text = row.undefined ?? "";
  const names = text.match(/[OSZAPC]F/g) ?? [...text.replaceAll(/[^OSZAPC]/g, "")].map((letter) => `${letter}F`);
  return names.reduce((mask, name) => mask | Rflags[name as "CF"], 0);
}

/** A state as text, field by field, for reports. */
export function describeState(state: Uint8Array): string {
  const r = file(state);
  const words = WORDS.map(([name, at, size]) => `${name}=${hex(word(r, at, size))}`);
  const xmm = Array.from({ length: 16 }, (_, n) => `XMM${n}=${wide(r, Reg.XMM + 16 * n, 16)}`);
  const st = Array.from({ length: 8 }, (_, n) => `R${n}=${wide(r, Reg.ST + 16 * n, 10)}`);
  return [...words, `RFLAGS=${hex(r.rflags)}`, `tags=${hex(presentTags(r.get16(Reg.FTW)))}`, ...xmm, ...st].join(" ");
}

/** Empty if the outcomes agree.
 *  @param ignoredFlags RFLAGS bits that are not compared (undefinedFlags) */
export function compareOutcomes(expected: Outcome, actual: Outcome, ignoredFlags = 0): Difference[] {
  const found: Difference[] = [];
  const note = (field: string, e: string, a: string): void => {
    if (e !== a) found.push({ field, expected: e, actual: a });
  };
  note("fault", describeFault(expected.fault), describeFault(actual.fault));
  if (Buffer.compare(expected.state, actual.state) !== 0)
    compareStates(file(expected.state), file(actual.state, 1), ignoredFlags, note);
  if (expected.memory.length + actual.memory.length > 0)
    note("memory", describeMemory(expected.memory), describeMemory(actual.memory));
  return found;
}

function compareStates(
  e: RegisterFile,
  a: RegisterFile,
  ignoredFlags: number,
  note: (field: string, e: string, a: string) => void,
): void {
  for (const [name, at, size] of WORDS) note(name, hex(word(e, at, size)), hex(word(a, at, size)));
  // What is in a register that is not empty may be told later, by FNSTENV.
  note("x87 tags", hex(presentTags(e.get16(Reg.FTW))), hex(presentTags(a.get16(Reg.FTW))));
  note("RFLAGS", hex(e.rflags & ~ignoredFlags), hex(a.rflags & ~ignoredFlags));
  for (let n = 0; n < 16; n++) note(`XMM${n}`, wide(e, Reg.XMM + 16 * n, 16), wide(a, Reg.XMM + 16 * n, 16));
  for (let n = 0; n < 8; n++) note(`R${n}`, wide(e, Reg.ST + 16 * n, 10), wide(a, Reg.ST + 16 * n, 10));
}

const files = [new RegisterFile(new ArrayBuffer(Reg.SIZE)), new RegisterFile(new ArrayBuffer(Reg.SIZE))];
function file(state: Uint8Array, which = 0): RegisterFile {
  files[which]!.bytes.set(state);
  return files[which]!;
}

function word(r: RegisterFile, at: number, size: 2 | 4 | 8): bigint | number {
  return size === 8 ? r.get64(at) : size === 4 ? r.get32(at) : r.get16(at);
}

/** Most significant byte first. */
function wide(r: RegisterFile, at: number, size: number): string {
  return bytesHex(r.bytes.slice(at, at + size).reverse());
}

export function describeFault(fault: Fault | undefined): string {
  if (!fault) return "none";
  return fault.vector === 14
    ? `#14(${fault.errorCode}) at ${hex(fault.address)}`
    : `#${fault.vector}(${fault.errorCode})`;
}

export function describeMemory(patches: readonly MemoryPatch[]): string {
  return patches.map((p) => `${hex(p.address)}: ${bytesHex(p.bytes)}`).join(", ") || "unchanged";
}
