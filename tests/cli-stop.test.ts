/* Ways a VM of `mere run` ends before its time: the guest crashes, or somebody stops it. The guests are a few instructions, so nothing boots. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DeviceAddress } from "../src/device/layout.ts";
import { PowerOffset, RESET_VALUE, SLEEP_TYPE_S5 } from "../src/device/power.ts";
import { makeElf } from "../src/image/kernel-file.fixture.ts";
import { runMere, startMere, summary } from "./support/mere.ts";

const work = mkdtempSync(join(tmpdir(), "mere-stop-"));
after(() => rmSync(work, { recursive: true, force: true }));
const initrd = join(work, "initrd");
writeFileSync(initrd, "nothing");

const HOME = 16 * 2 ** 20;
const SERIAL = [0xba, 0xf8, 0x03, 0x00, 0x00]; // mov edx, 0x3f8
const LOOP = [0xeb, 0xfe]; // jmp .
const HALT = [0xfa, 0xf4]; // cli; hlt
const UD2 = [0x0f, 0x0b];
const print = (text: string): number[] => [...SERIAL, ...[...Buffer.from(text)].flatMap((byte) => [0xb0, byte, 0xee])];
/** mov rax, target; jmp rax */
const jumpTo = (target: bigint): number[] => [
  0x48,
  0xb8,
  ...new Uint8Array(BigUint64Array.of(target).buffer),
  0xff,
  0xe0,
];

/** mov ebx, register; mov byte [rbx], value */
const writePower = (offset: number, value: number): number[] => [
  0xbb,
  ...new Uint8Array(Uint32Array.of(DeviceAddress.POWER + offset).buffer),
  0xc6,
  0x03,
  value,
];

/** Words for mere that boot these instructions, which start at 16 MiB in 64-bit mode, identity-mapped, without an IDT. */
let guests = 0;
function boot(...code: number[]): string[] {
  const kernel = join(work, `kernel${guests++}`);
  writeFileSync(kernel, makeElf([{ physicalAddress: HOME, data: Buffer.from(code) }]));
  return ["run", "--kernel", kernel, "--initrd", initrd];
}

describe("a guest that", { concurrency: 2 }, () => {
  const ends: [string, number[]][] = [
    ["resets the machine", writePower(PowerOffset.RESET, RESET_VALUE)],
    ["powers it off", writePower(PowerOffset.SLEEP_CONTROL, (SLEEP_TYPE_S5 << 2) | (1 << 5))],
  ];
  for (const [what, code] of ends) {
    test(`${what} comes to an end at once, and mere ends with 0`, async () => {
      const { status, stdout, stderr } = await runMere(boot(...print("last"), ...code, ...LOOP, ...print(" words")));
      assert.deepEqual([status, stdout.toString(), stderr], [0, "last", ""]);
    });
  }

  const triple = /^mere run: the guest's processor shut down \(a triple fault\)\n/;
  test("executes what is no instruction without a handler is shown with its state", async () => {
    const ended = await runMere(boot(0xb8, 0x78, 0x56, 0x34, 0x12, ...UD2)); // mov eax, 0x12345678
    assert.deepEqual([ended.status, ended.stdout.toString()], [1, ""]);
    assert.match(ended.stderr, triple);
    assert.match(ended.stderr, /at RIP 0000000001000005, CPL 0/);
    assert.match(ended.stderr, /^RAX 0000000012345678 /m);
    assert.match(ended.stderr, /^ +0000000001000005 +ud2$/im);
  });

  const nowhere: [string, bigint][] = [
    ["an address without a page", 0x1234_5678_9000n],
    ["an address that is not canonical", 0x1234_5678_9abc_def0n],
    ["a page without memory", 0xc000_0000n],
  ];
  for (const [name, target] of nowhere) {
    test(`jumps to ${name} stops only itself`, async () => {
      const ended = await runMere(boot(...jumpTo(target)));
      assert.deepEqual([ended.status, ended.stdout.toString()], [1, ""], summary(ended));
      assert.match(ended.stderr, triple);
      assert.ok(ended.stderr.length < 4000, ended.stderr);
    });
  }

  test("panics and stays is stopped, with its state and its words", async () => {
    const words =
      "Kernel panic - not syncing: a test\r\nCall Trace:\r\n---[ end Kernel panic - not syncing: a test ]---\r\n";
    const ended = await runMere(boot(...print(words), ...LOOP));
    assert.deepEqual([ended.status, ended.stdout.toString()], [1, words], summary(ended));
    assert.match(ended.stderr, /^mere run: the guest's kernel panicked\n[^]*at RIP 00000000010[^]*\n {2}Call Trace:\n/);
  });
});

describe("a VM that is stopped", { concurrency: 2 }, () => {
  const cases: [NodeJS.Signals, number, string, number[]][] = [
    ["SIGINT", 130, "computes", LOOP],
    ["SIGTERM", 143, "has halted for ever", HALT],
    ["SIGHUP", 129, "prints", [...print("."), 0xeb, 0xfb]], // out dx, al again
  ];
  for (const [signal, status, what, code] of cases) {
    test(`by ${signal} while it ${what} ends with ${status}`, async () => {
      const { child, ended } = startMere(boot(...print("up"), ...code));
      let seen = 0;
      child.stdout!.on("data", (bytes: Uint8Array) => {
        const before = seen;
        seen += bytes.length;
        if (before >= 2 || seen < 2) return;
        child.kill(signal);
        child.kill(signal);
      });
      const { status: actual, stderr, stdout } = await ended;
      assert.deepEqual([actual, stderr, stdout.subarray(0, 2).toString()], [status, "", "up"]);
    });
  }

  test("because nobody reads its output ends with 141", async () => {
    const { child, ended } = startMere(boot(...print("up"), ...print("."), 0xeb, 0xfb));
    child.stdout!.once("data", () => child.stdout!.destroy());
    const { status, stderr } = await ended;
    assert.deepEqual([status, stderr], [141, ""]);
  });
});
