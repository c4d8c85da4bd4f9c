/* The decoder against an independent one: binutils' objdump over the C library that runs this test, lengths and mnemonics.
 * Skipped where there is no objdump or no such file. Left out: instructions of features that the CPU model does not have. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { createDecoder, newDecoded } from "./decode.ts";
import { disassemble } from "./disassemble.ts";
import { ALL_ROWS } from "./tables/index.ts";

/** objdump's second names for conditions. */
const CONDITION_ALIASES: Record<string, string> = { e: "z", ne: "nz", a: "nbe", ae: "nb", g: "nle", ge: "nl" };
const ALIASES: Record<string, string> = {
  movabs: "mov",
  xchg: "nop",
  movs: "movsb",
  stos: "stosb",
  lods: "lodsb",
  scas: "scasb",
  cmps: "cmpsb",
  jecxz: "jrcxz",
};
const PREFIXES = /^((repz?|repnz|lock|bnd|notrack|data16|addr32|rex(\.\w+)?|[cdefgs]s) )+/;
const LIMIT = 60_000;
const BYTES_A_STRETCH = 400_000;

/** @returns objdump's lines as [bytes, text] */
function objdump(file: string): [Uint8Array, string][] | undefined {
  const header = spawnSync("objdump", ["-h", file], { encoding: "utf8" });
  const text = /\.text\s+([0-9a-f]+)\s+([0-9a-f]+)/.exec(header.stdout ?? "");
  if (!text) return undefined;
  const start = Number.parseInt(text[2]!, 16);
  const range = [`--start-address=${start}`, `--stop-address=${start + BYTES_A_STRETCH}`];
  const { stdout } = spawnSync("objdump", ["-d", "-w", "-M", "intel", ...range, file], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return [...stdout.matchAll(/^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t(.*)$/gm)]
    .slice(0, LIMIT)
    .map((m) => [Uint8Array.from(m[1]!.trim().split(" "), (x) => Number.parseInt(x, 16)), m[2]!]);
}

const hasX87 = ALL_ROWS.some((row) => row.unit === "x87");

function mappedLibrary(): string | undefined {
  try {
    return /\s(\/\S*\/libc\.so\S*)/.exec(readFileSync("/proc/self/maps", "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

function sameName(theirs: string, ours: string): boolean {
  if (theirs === ours || ALIASES[theirs] === ours) return true;
  if (/^(prefetch|nop|endbr|bnd)/.test(theirs) && /^(nop|prefetchw)/.test(ours)) return true;
  const condition = /^(j|set|cmov)(\w+)$/.exec(theirs);
  if (condition && condition[1] + (CONDITION_ALIASES[condition[2]!] ?? "?") === ours) return true;
  return ours.length > 3 && (theirs.startsWith(ours) || /^cmp\w+[ps][sd]$/.test(theirs)); // popfw, cmpltps, …
}

describe("decode against objdump", () => {
  const library = mappedLibrary();
  const lines = library === undefined ? undefined : objdump(library);
  test("lengths and names agree", { skip: lines === undefined ? "no objdump, or no C library to read" : false }, () => {
    const decoder = createDecoder();
    const d = newDecoded();
    const wrong: string[] = [];
    let compared = 0;
    for (const [bytes, line] of lines!) {
      const buffer = new Uint8Array(16);
      buffer.set(bytes);
      const name = line.replace(PREFIXES, "").split(" ")[0]!;
      if (decoder.decode(buffer, 0, 16, d) !== undefined) {
        // a lone prefix on its line, or what this CPU model does not have
        if (
          /^(v|k|x|rd(pkru|ssp|pid)|wrpkru|\(bad\)|lock|bnd|rex|ts|encls|tpause|umonitor)/.test(name) &&
          !/^xor|^xchg|^xadd/.test(name)
        )
          continue;
        if (name.startsWith("f") && !hasX87) continue;
        wrong.push(`refused: ${line}`);
        continue;
      }
      compared++;
      const ours = disassemble(d)
        .replace(PREFIXES, "")
        .replace(/^(repe|repne) /, "")
        .split(" ")[0]!;
      if (d.length !== bytes.length) wrong.push(`length ${d.length}, not ${bytes.length}: ${line}`);
      else if (d.row.unit !== "x87" && !sameName(name, ours)) wrong.push(`${ours}: ${line}`);
    }
    assert.deepEqual(wrong.slice(0, 20), []);
    assert.ok(compared > 10_000, `only ${compared} instructions were compared`);
  });
});
