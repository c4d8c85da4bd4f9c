/* The escape key, and the terminal's state on every way out. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import fc from "fast-check";
import { ESCAPE_BYTE, EscapeFilter, type TerminalMode, attachTerminal } from "./terminal.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const ESC = String.fromCharCode(ESCAPE_BYTE);

class FakeInput extends EventEmitter {
  isTTY: boolean;
  raw = false;
  flowing = false;
  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }
  setRawMode(raw: boolean): void {
    this.raw = raw;
  }
  resume(): void {
    this.flowing = true;
  }
  pause(): void {
    this.flowing = false;
  }
}

function attach(isTTY: boolean, mode: TerminalMode = "console") {
  const input = new FakeInput(isTTY);
  const seen = { text: "", left: 0 };
  const detach = attachTerminal(input, mode, {
    input: (data) => (seen.text += text(data)),
    leave: () => seen.left++,
  });
  return { input, seen, detach };
}

test("Ctrl-] q leaves, Ctrl-] Ctrl-] types one, other keys go through", () => {
  const filter = new EscapeFilter();
  const feed = (typed: string) => {
    const { forward, leave } = filter.feed(bytes(typed));
    return [text(forward), leave];
  };
  assert.deepEqual(feed("ls\r"), ["ls\r", false]);
  assert.deepEqual(feed(`a${ESC}${ESC}b`), [`a${ESC}b`, false]);
  assert.deepEqual(feed(`a${ESC}x`), [`a${ESC}x`, false]);
  assert.deepEqual(feed("\u0003"), ["\u0003", false]);
  assert.deepEqual(feed(`a${ESC}`), ["a", false]);
  assert.deepEqual(feed("Qrest"), ["", true]);
});

test("input without the escape passes unchanged, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (pieces) => {
      const filter = new EscapeFilter();
      const plain = pieces.map((piece) => piece.map((byte) => (byte === ESCAPE_BYTE ? 0 : byte)));
      const out = plain.flatMap((piece) => [...filter.feed(piece).forward]);
      assert.deepEqual(
        out,
        plain.flatMap((piece) => [...piece]),
      );
    }),
  );
});

test("a terminal is raw while attached and as before afterwards", () => {
  const { input, seen, detach } = attach(true);
  assert.deepEqual([input.raw, input.flowing], [true, true]);
  input.emit("data", bytes(`id\r${ESC}q`));
  assert.deepEqual(seen, { text: "id\r", left: 1 });
  detach();
  detach();
  assert.deepEqual([input.raw, input.flowing, input.listenerCount("data")], [false, false, 0]);
});

test("the terminal is restored when the process ends without detaching", () => {
  const before = process.listeners("exit");
  const { input } = attach(true);
  const restore = process.listeners("exit").find((listener) => !before.includes(listener));
  assert.ok(restore);
  restore(0);
  assert.equal(input.raw, false);
});

test("input that is no terminal is passed on whole, with Ctrl-D at its end", () => {
  const { input, seen, detach } = attach(false);
  input.emit("data", bytes(`echo ${ESC}q\n`));
  input.emit("end");
  detach();
  assert.deepEqual(seen, { text: `echo ${ESC}q\n\u0004`, left: 0 });
  assert.equal(input.raw, false);
});

test("plain input leaves the terminal alone and adds nothing", () => {
  const { input, seen, detach } = attach(true, "plain");
  assert.equal(input.raw, false);
  input.emit("data", bytes(`a${ESC}q`));
  input.emit("end");
  detach();
  assert.deepEqual(seen, { text: `a${ESC}q`, left: 0 });
});
