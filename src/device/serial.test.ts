import assert from "node:assert/strict";
import { test } from "node:test";
import { routePin, testMachine } from "./test-machine.ts";

function uart() {
  const machine = testMachine();
  const { devices } = machine;
  routePin(devices, 4, 0x34);
  const apic = devices.localApics.apics[0]!;
  return {
    serial: devices.serial,
    get: (register: number) => devices.ports.read(0x3f8 + register, 1),
    put: (register: number, value: number) => devices.ports.write(0x3f8 + register, 1, value),
    /** Takes an interrupt, if there is one. */
    interrupted: (): boolean => apic.acknowledgeInterrupt() === 0x34 && apic.writeMsr(0x80b, 0n),
  };
}
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice());

test("Linux's 8250 autoconfig finds a 16550A with a FIFO of 16", () => {
  const { get, put } = uart();
  const savedMcr = get(4);
  put(1, 0);
  assert.equal(get(1) & 0x0f, 0);
  put(1, 0x0f);
  assert.equal(get(1) & 0x0f, 0x0f);
  put(1, 0);
  put(4, 0x10 | 0x0a);
  assert.equal(get(6) & 0xf0, 0x90, "loopback: RTS and OUT2 come back as CTS and DCD");
  put(4, savedMcr);
  put(3, 0xbf);
  put(2, 0);
  put(3, 0);
  put(2, 1);
  assert.equal(get(2) >> 6, 3, "IIR of a 16550A");
  put(3, 0x80);
  assert.notEqual(get(2), 0, "not an EFR: no 16650");
  put(3, 0xbf);
  assert.notEqual(get(2), 0);
  put(3, 0);
  put(1, 0x40);
  assert.equal(get(1) & 0x40, 0, "no XScale UUE bit");
  // size_fifo
  put(2, 7);
  put(4, 0x10);
  put(3, 0x80);
  put(0, 1);
  put(1, 0);
  assert.equal(get(0), 1);
  put(3, 3);
  for (let i = 0; i < 256; i++) put(0, i);
  let count = 0;
  while ((get(5) & 1) !== 0 && count < 256) assert.equal(get(0), count++);
  assert.equal(count, 16);
});

test("the scratch register and divisor hold what was written", () => {
  const { get, put } = uart();
  put(7, 0x5a);
  assert.equal(get(7), 0x5a);
  put(3, 0x83);
  put(0, 0x0c);
  put(1, 0x01);
  assert.deepEqual([get(0), get(1)], [0x0c, 0x01]);
  put(3, 3);
  assert.equal(get(1), 0, "IER again");
});

test("THRE interrupt: on enabling, cleared by reading IIR, again after each write", () => {
  const { get, put, interrupted } = uart();
  put(4, 8);
  assert.equal(interrupted(), false);
  put(1, 2);
  assert.equal(get(2) & 0x0f, 2);
  assert.equal(get(2) & 0x0f, 1);
  put(1, 0);
  put(1, 2);
  assert.equal(interrupted(), true);
  assert.equal(get(5), 0x60);
  assert.equal(get(2) & 0x0f, 2, "reading LSR does not clear it");
  interrupted();
  assert.equal(interrupted(), false);
  put(0, 65);
  assert.equal(interrupted(), true);
});

test("output reaches the host; a full ring holds THRE back until the host drains it", () => {
  const { get, put, serial, interrupted } = uart();
  put(4, 8);
  for (const c of "hello") put(0, c.charCodeAt(0));
  assert.equal(text(serial.takeOutput()), "hello");
  let sent = 0;
  while ((get(5) & 0x20) !== 0) {
    put(0, sent++ & 0x7f);
    assert.ok(sent < 1 << 20);
  }
  put(1, 2);
  get(2);
  assert.equal(interrupted(), false);
  for (let i = 0; i < 40; i++) put(0, 0);
  const bytes = serial.takeOutput();
  assert.equal(bytes.length, 16384, "no more than the ring holds, the rest is lost");
  assert.ok(bytes.subarray(0, sent).every((byte, i) => byte === (i & 0x7f)));
  assert.equal(get(5) & 0x60, 0x60);
  assert.equal(interrupted(), true, "THRE after draining");
});

test("input: data ready, RDA at the trigger, timeout below it, backpressure", () => {
  const { get, put, serial, interrupted } = uart();
  put(2, 0x81); // FIFO, trigger 8
  put(4, 8);
  put(1, 1);
  assert.equal(serial.putInput(new TextEncoder().encode("ab")), 2);
  assert.equal(interrupted(), true);
  assert.equal(get(2) & 0x0f, 12);
  serial.putInput(new Uint8Array(6).fill(99));
  assert.equal(get(2) & 0x0f, 4);
  assert.equal(get(5) & 1, 1);
  assert.equal(String.fromCharCode(get(0), get(0)), "ab");
  for (let i = 0; i < 6; i++) assert.equal(get(0), 99);
  assert.equal(get(5) & 1, 0);
  assert.equal(get(2) & 0x0f, 1);
  assert.equal(serial.putInput(new Uint8Array(5000)), 4096);
});
