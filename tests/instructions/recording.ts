/* Recorded cases: what the real processor made of them, kept so that they also run where there is none. One gzip file of JSON lines a table; a line
 * is one case. States are kept as differences: `before` from baseState(seed), `after` from before.
 *
 *   {"row":"add Eb, Gb","bytes":"00d8","seed":1,"before":"…","memory":"…","fault":[14,6,"60002000"],"after":"…","writes":"…"}
 *   differences and memory: "offset:hexbytes" joined by spaces, offsets in hexadecimal
 */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Row } from "../../src/isa/row.ts";
import { baseState } from "./base-state.ts";
import type { Fault, InstructionCase, MemoryPatch, Outcome } from "./case.ts";
import type { GeneratedCase } from "./generate.ts";

export interface RecordedCase {
  readonly rowName: string;
  readonly test: InstructionCase;
  readonly expected: Outcome;
}

/** A row's name in recordings: mnemonic, operand codes and what tells it from its like. */
export function rowName(row: Row): string {
  const vex = row.vex ? `vex ${row.vex.l ?? ""}${row.vex.w ?? ""}` : "";
  const marks = [
    row.prefix,
    row.ext === undefined ? "" : `/${row.ext}`,
    row.mod,
    row.w === undefined ? "" : `w${row.w}`,
    vex,
  ];
  const place = `${row.map}:${row.opcode.toString(16)}`;
  return [place, `${row.mnemonic} ${row.operands.join(", ")}`.trim(), ...marks].filter(Boolean).join(" ");
}

/** Bytes that differ, as runs; gaps of up to two equal bytes are bridged. */
function difference(from: Uint8Array, to: Uint8Array): string {
  const runs: string[] = [];
  for (let at = 0; at < to.length; at++) {
    if (from[at] === to[at]) continue;
    let end = at + 1;
    for (let look = end; look < to.length && look < end + 3; look++) if (from[look] !== to[look]) end = look + 1;
    runs.push(`${at.toString(16)}:${Buffer.from(to.subarray(at, end)).toString("hex")}`);
    at = end;
  }
  return runs.join(" ");
}

function parse(text: string): MemoryPatch[] {
  if (text === "") return [];
  return text.split(" ").map((run) => {
    const [at, bytes] = run.split(":") as [string, string];
    return { address: Number.parseInt(at, 16), bytes: new Uint8Array(Buffer.from(bytes, "hex")) };
  });
}

function apply(from: Uint8Array, text: string): Uint8Array {
  const to = from.slice();
  for (const { address, bytes } of parse(text)) to.set(bytes, address);
  return to;
}

const patches = (list: readonly MemoryPatch[]): string =>
  list.map((p) => `${p.address.toString(16)}:${Buffer.from(p.bytes).toString("hex")}`).join(" ");

export function toLine(test: GeneratedCase, outcome: Outcome): string {
  const { fault } = outcome;
  return JSON.stringify({
    row: rowName(test.row),
    bytes: Buffer.from(test.bytes).toString("hex"),
    seed: test.stateSeed,
    before: difference(baseState(test.stateSeed), test.before),
    memory: patches(test.memory) || undefined,
    fault: fault && [fault.vector, fault.errorCode, fault.address.toString(16)],
    after: difference(test.before, outcome.state),
    writes: patches(outcome.memory) || undefined,
  });
}

interface Line {
  row: string;
  bytes: string;
  seed: number;
  before: string;
  memory?: string;
  fault?: [number, number, string];
  after: string;
  writes?: string;
}

export function fromLine(text: string): RecordedCase {
  const line = JSON.parse(text) as Line;
  const before = apply(baseState(line.seed), line.before);
  const fault: Fault | undefined = line.fault && {
    vector: line.fault[0],
    errorCode: line.fault[1],
    address: BigInt(`0x${line.fault[2]}`),
  };
  return {
    rowName: line.row,
    test: { bytes: new Uint8Array(Buffer.from(line.bytes, "hex")), before, memory: parse(line.memory ?? "") },
    expected: { state: apply(before, line.after), fault, memory: parse(line.writes ?? "") },
  };
}

export const RECORDED: URL = new URL("recorded/", import.meta.url);

/** All recorded cases, table by table. */
export function readRecordings(): { table: string; cases: RecordedCase[] }[] {
  const files = readdirSync(RECORDED)
    .filter((name) => name.endsWith(".jsonl.gz"))
    .toSorted();
  return files.map((name) => {
    const lines = gunzipSync(readFileSync(new URL(name, RECORDED)))
      .toString()
      .split("\n")
      .filter(Boolean);
    return { table: name.replace(".jsonl.gz", ""), cases: lines.map(fromLine) };
  });
}
