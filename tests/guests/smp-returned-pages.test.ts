/* Frames are taken from pages that two vCPUs write and read all the time, and go to the next page that is touched: the other vCPU's. A TLB entry that outlived its frame
 * would show one's words to the other. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { PageReturn } from "../../src/vm/page-return.ts";
import { code } from "./listing.ts";
import { At, regionsSoFar, SmpGuest, translateSoon } from "./smp-guest.ts";

// A pending Atomics.waitAsync does not keep Node's event loop alive.
const alive = setInterval(() => {}, 60_000);
after(() => clearInterval(alive));

const PAGES = { first: 0x100, each: 64 } as const;
/** Words of the program: pages found empty, and pages with somebody else's word. */
const EMPTY = At.WORDS + 0x20;
const WRONG = At.WORDS + 0x24;
/** vCPU n writes 0x1111 × (n + 1) into 64 pages from 0x100000 + n × 0x40000 on, and looks at what was there. */
const PROGRAM = code(`
  89 fd                           mov ebp, edi
  c1 e5 12                        shl ebp, 18
  81 c5 00 00 10 00               add ebp, 0x100000
  8d 57 01                        lea edx, [rdi + 1]
  69 d2 11 11 00 00               imul edx, edx, 0x1111
  again:
  89 eb                           mov ebx, ebp
  41 b8 40 00 00 00               mov r8d, 64
  page:
  8b 03                           mov eax, [rbx]
  85 c0                           test eax, eax
  75 0a                           jne used
  f0 ff 04 25 20 90 00 00         lock inc dword [0x9020]
  eb 0c                           jmp put
  used:
  39 d0                           cmp eax, edx
  74 08                           je put
  f0 ff 04 25 24 90 00 00         lock inc dword [0x9024]
  put:
  89 13                           mov [rbx], edx
  81 c3 00 10 00 00               add ebx, 0x1000
  41 ff c8                        dec r8d
  75 d7                           jne page
  ff c9                           dec ecx
  75 cb                           jne again
`);

/** @returns were frames taken, and found empty again? */
async function run(executors: number, rcx: number): Promise<boolean> {
  const vcpus = 2;
  const g = new SmpGuest(PROGRAM, { vcpus, executors, rcx });
  const toHost = (): void => {};
  const pages = new PageReturn({ ram: g.ram, state: g.state, executors, heldMemory: () => [], toHost });
  let running = true;
  let taken = 0;
  const ended = g.run().finally(() => (running = false));
  for (let round = 0; running; round++) {
    // A part of both vCPUs' pages, in changing order.
    const some = Array.from({ length: 40 }, (_, i) => PAGES.first + ((i * 29 + round * 7) % (vcpus * PAGES.each)));
    taken += await Promise.race([pages.giveBack(some), ended.then(() => 0)]);
    await setImmediate();
  }
  await ended;
  pages.end();
  assert.equal(g.u32(WRONG), 0);
  // All were empty once.
  return taken > 100 && g.u32(EMPTY) > vcpus * PAGES.each;
}
/** On a busy machine the thread that takes, or the one that translates, is late for a short run. */
async function runUntil(executors: number, enough: () => boolean = () => true): Promise<void> {
  let met = false;
  for (let rounds = 2000; !met && rounds < 1_000_000; rounds *= 2) met = (await run(executors, rounds)) && enough();
  assert.ok(met);
}

describe("frames that are taken while vCPUs use them", () => {
  test("on two executors", () => runUntil(2));
  test("two vCPUs in turns on one executor", () => runUntil(1));
  test("in translated code", () => {
    const before = regionsSoFar();
    translateSoon();
    return runUntil(2, () => regionsSoFar() > before);
  });
});
