/* Every call that a semantic function makes exists and takes those arguments. The functions run once with a Sem that only records. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Row } from "../row.ts";
import type { Sem, Size } from "../sem.ts";
import { CALLS } from "../system/calls.ts";
import { ALL_ROWS } from "./index.ts";

/** name → argument counts seen, over both branches of every condition. */
function callsOf(row: Row, size: Size, memory: boolean): [string, number][] {
  const calls: [string, number][] = [];
  const special: Record<string, unknown> = {
    size, addressSize: 8, rep: 0, lock: false,
    isMemory: (i: number) => memory && /^[EMWXYO]|\//.test(row.operands[i] ?? ""),
    width: () => size,
    call: (name: string, ...args: unknown[]) => {
      calls.push([name, args.length]);
      return 0;
    },
  };
  // when, whenValue, fpLanes: all their functions run, the last one's value comes out
  const other = (...args: unknown[]): unknown => args.reduce((result, a) => (typeof a === "function" ? (a as () => unknown)() : result), 0);
  const sem = new Proxy(special, { get: (target, key: string) => (key in target ? target[key] : other) });
  row.semantics.run(sem as unknown as Sem<number>);
  return calls;
}

test("calls exist, with these argument counts", () => {
  const names = new Set<string>();
  for (const row of ALL_ROWS) {
    for (const size of [1, 4, 8] as const) {
      for (const [name, count] of [...callsOf(row, size, false), ...callsOf(row, size, true)]) {
        names.add(name);
        assert.equal(CALLS[name]?.args, count, `${row.mnemonic}: ${name} with ${count} arguments`);
      }
    }
  }
  assert.ok(names.size > 50, `only ${names.size} calls were seen`);
});
