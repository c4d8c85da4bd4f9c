/* What must hold for the rows as a whole, whoever wrote them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compileRows } from "../candidates.ts";
import { CPU_FEATURES } from "../features.ts";
import { operandSpec } from "../operands.ts";
import type { Row } from "../row.ts";
import { CONDITIONS, type Sem } from "../sem.ts";
import { MAP0_ROWS } from "./map0.ts";
import { MAP1_ROWS } from "./map1.ts";
import { ALL_ROWS } from "./index.ts";

const describeRow = (row: Row): string => `${row.mnemonic} ${row.map}:${row.opcode.toString(16)} ${row.operands.join(",")}`;
const offending = (is: (row: Row) => boolean): string[] => ALL_ROWS.filter(is).map(describeRow);

/** Does some path through the semantics call endBlock()? */
function callsEndBlock(row: Row): boolean {
  let ends = false;
  const special: Record<string, unknown> = { size: 8, endBlock: () => void (ends = true) };
  const other = (...args: unknown[]): unknown => args.reduce((result, a) => (typeof a === "function" ? (a as () => unknown)() : result), 0);
  row.semantics.run(new Proxy(special, { get: (target, key: string) => (key in target ? target[key] : other) }) as unknown as Sem<number>);
  return ends;
}

describe("instruction tables", () => {
  test("ids are the rows' places", () => assert.ok(ALL_ROWS.length > 400 && ALL_ROWS.every((row, i) => row.id === i)));

  test("operands: at most five, codes known, as many access letters", () => {
    assert.deepEqual(offending((row) => row.operands.length > 5), []);
    for (const row of ALL_ROWS) row.operands.forEach(operandSpec);
    assert.deepEqual(offending((row) => row.semantics.access.length < row.operands.length && row.operands.length > 0 && row.semantics.access !== ""), []);
    assert.deepEqual(offending((row) => !/^[rwx-]*$/.test(row.semantics.access)), []);
  });

  test("a byte operation says so: flags come from its size", () => {
    const isByte = (row: Row): boolean => /^([EGZ]b|AL)$/.test(row.operands[0] ?? "");
    assert.deepEqual(offending((row) => isByte(row) && row.size !== "byte"), []);
  });

  test("LOCK only where operand 0 may be memory and is written", () => {
    assert.deepEqual(offending((row) => row.lock === true && !(/^[EM]/.test(row.operands[0] ?? "") && /^[x-]/.test(row.semantics.access))), []);
    assert.deepEqual(
      [...new Set(ALL_ROWS.filter((row) => row.lock).map((row) => row.mnemonic))].toSorted(),
      "adc add and btc btr bts cmpxchg cmpxchg16b cmpxchg8b dec inc neg not or sbb sub xadd xchg xor".split(" "),
    );
  });

  test("undefined flags are flags", () => {
    assert.deepEqual(offending((row) => !/^([OSZAPC]F( [OSZAPC]F)*)?$/.test(row.undefined ?? "")), []);
  });

  test("condition codes are in encoding order", () => {
    for (const row of ALL_ROWS.filter((r) => r.cc !== undefined)) {
      assert.equal(row.opcode & 15, row.cc, describeRow(row));
      assert.ok(row.mnemonic.endsWith(CONDITIONS[row.cc!]!), describeRow(row));
    }
  });

  test("what changes the flow, the mode or translations ends a block", () => {
    const flow = /^(j|call|ret|loop|int|iret|sys|hlt$|ud|invlpg|invpcid|wrmsr|lgdt|lidt|lldt|ltr|lmsw|clts|wbinvd|invd)/;
    assert.deepEqual(offending((row) => flow.test(row.mnemonic) && row.ends !== true), []);
    assert.deepEqual(offending((row) => /^(mov|pop|l[sfg]s)$/.test(row.mnemonic) && /^([CD]R\d|[DEFGS]S)$/.test(row.operands[0] ?? "") && row.ends !== true), []);
  });

  test("what seldom does ends the block by itself", () => {
    // CLI, SWAPGS, STAC, CLAC open nothing that would have to be looked at
    for (const mnemonic of ["popf", "sti"]) {
      const row = ALL_ROWS.find((r) => r.mnemonic === mnemonic)!;
      assert.ok(row.ends !== true && callsEndBlock(row), mnemonic);
    }
  });

  test("no two rows of a slot want the same encodings", () => {
    for (const slot of compileRows(ALL_ROWS, CPU_FEATURES)) {
      const seen = new Map<string, Row>();
      for (const c of slot?.candidates ?? []) {
        const key = [c.prefixes, c.mods, c.ext, c.rm, c.opcodeRegister, c.needsReg, c.w, c.vexL].join();
        assert.equal(seen.get(key), undefined, `${describeRow(c.row)} hides behind another row`);
        seen.set(key, c.row);
      }
    }
  });

  test("every opcode that Table A-2 fills in 64-bit mode has a row", () => {
    const invalid = new Set([0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea]);
    const prefixes = new Set([0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3]);
    const slots = compileRows(MAP0_ROWS, CPU_FEATURES);
    for (let opcode = 0; opcode < 256; opcode++) {
      const none = invalid.has(opcode) || prefixes.has(opcode) || (opcode & 0xf0) === 0x40 || (opcode & 0xf8) === 0xd8;
      assert.equal(slots[opcode] === undefined, none, opcode.toString(16));
    }
  });

  test("a feature's rows name it as the CPU model does", () => {
    const leftOut = new Set(["monitor", "sep"]);
    assert.deepEqual([...new Set([...MAP0_ROWS, ...MAP1_ROWS].map((r) => r.feature))].filter((f) => f && !CPU_FEATURES.has(f) && !leftOut.has(f)), []);
  });
});
