/* Jumps that wait for code are bound once, and only those that wait for that place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Assembler } from "./assembler.ts";
import { JumpList, WaitingJumps } from "./jumps.ts";

const PAGES = [3, 4, 3 + 1024];
const CODE = 0x10_0000;

test("each of many waiting jumps is bound when there is code for its place", () => {
  const assembler = new Assembler(new Uint8Array(1 << 17));
  const view = new DataView(assembler.bytes.buffer);
  const waiting = new WaitingJumps();
  const places: { page: number; to: number; at: number }[] = [];
  for (let n = 0; n < 20_000; n++) places.push({ page: PAGES[n % 3]!, to: (n * 31) % 512, at: 4 * n });
  for (const { page, to, at } of places) waiting.add(page, to, at);
  for (const page of PAGES)
    for (let to = 0; to < 512; to += 2) waiting.bind(page, to, CODE + 512 * page + to, assembler);
  // nothing waits there any more
  for (const page of PAGES) waiting.bind(page, 0, 0, assembler);
  for (const { page, to, at } of places)
    assert.equal(view.getInt32(at, true), to % 2 === 0 ? CODE + 512 * page + to - (at + 4) : 0);
  waiting.clear();
  for (const page of PAGES) waiting.bind(page, 1, 0, assembler);
  assert.equal(view.getInt32(places.find(({ to }) => to === 1)!.at, true), 0);
});

test("a list of jumps grows", () => {
  const list = new JumpList();
  for (let n = 0; n < 2000; n++) list.add(n, 2 * n);
  assert.equal(list.length, 4000);
  assert.deepEqual([list.words[3998], list.words[3999]], [1999, 3998]);
});
