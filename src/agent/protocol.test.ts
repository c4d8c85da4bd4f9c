import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as protocol from "./protocol.ts";
import { FrameReader, FrameWriter } from "./protocol.ts";

/** Constants of protocol.h by name. */
function headerConstants(): Map<string, number> {
  const text = readFileSync(new URL("./guest/protocol.h", import.meta.url), "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "");
  const found = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/\b([A-Z][A-Z_0-9]+) = ([^,\n]+)/g)) {
    const [base, shift] = value!.split("<<").map(Number);
    found.set(name!, base! << (shift ?? 0));
  }
  return found;
}

test("host and guest have the same protocol", () => {
  const { Op, In, Out, Refusal, Write, Event, PROTOCOL_VERSION, PORT_AGENT, PORT_READY } = protocol;
  const { FRAME_HEADER_BYTES, FRAME_LIMIT_BYTES, DATA_LIMIT_BYTES, STREAM_WINDOW_BYTES } = protocol;
  const prefixed = (prefix: string, table: Readonly<Record<string, number>>): [string, number][] =>
    Object.entries(table).map(([name, value]) => [prefix + name, value]);
  const ours = new Map([
    ...prefixed("", { PROTOCOL_VERSION, PORT_AGENT, PORT_READY }),
    ...prefixed("", { FRAME_HEADER_BYTES, FRAME_LIMIT_BYTES, DATA_LIMIT_BYTES, STREAM_WINDOW_BYTES }),
    ...prefixed("OP_", Op),
    ...prefixed("IN_", In),
    ...prefixed("OUT_", Out),
    ...prefixed("ERROR_", Refusal),
    ...prefixed("WRITE_", Write),
    ...prefixed("EVENT_", Event),
  ]);
  assert.deepEqual(headerConstants(), ours);
});

test("fields come back as they were written", () => {
  const long = "ü".repeat(300);
  const frame = new FrameWriter(9)
    .u8(255)
    .u16(65535)
    .u32(2 ** 32 - 1)
    .u64(2n ** 64n - 1n)
    .text(long)
    .text("")
    .finish();
  assert.equal(frame.readUInt32LE(0), frame.length - protocol.FRAME_HEADER_BYTES);
  assert.equal(frame[4], 9);
  const reader = new FrameReader(frame.subarray(protocol.FRAME_HEADER_BYTES));
  assert.deepEqual(
    [reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.text(), reader.text(), reader.rest],
    [255, 65535, 2 ** 32 - 1, 2n ** 64n - 1n, long, "", 0],
  );
  assert.throws(() => reader.u8(), RangeError);
});

test("a text with a length that lies is an error", () => {
  const frame = new FrameWriter(9).u32(1000).bytes(Buffer.from("abc\0")).finish();
  assert.throws(() => new FrameReader(frame.subarray(5)).text(), RangeError);
});

test("what cannot be told to a guest is refused", () => {
  assert.throws(() => new FrameWriter(1).text("a\0b"), RangeError);
  assert.throws(() => new FrameWriter(1).bytes(new Uint8Array(protocol.FRAME_LIMIT_BYTES + 1)).finish(), RangeError);
});
