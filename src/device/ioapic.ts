/* IOAPIC with 24 pins at 0xFEC00000: turns interrupt lines into messages to local APICs. @source Intel 82093AA datasheet §3; version 0x20 with
 * the EOI register. Runs on any thread (fronts on executors, backs on the I/O thread) under its lock.
 * Leaves out: ExtINT, INIT and SMI delivery; the polarity bit (lines say "asserted", whatever the polarity). */
import type { InterruptLine, RegisterWindow } from "./bus.ts";
import { SpinLock } from "./shared.ts";

const PINS = 24;
const VERSION = 0x20 | ((PINS - 1) << 16);

/** i32 words of shared state. */
const Word = { LOCK: 0, SELECT: 1, ID: 2, LINES: 3, LOW: 4, HIGH: 28 } as const;
export const IOAPIC_STATE_BYTES = 52 * 4;

const Offset = { IOREGSEL: 0x00, IOWIN: 0x10, EOI: 0x40 } as const;
const Index = { ID: 0, VERSION: 1, ARBITRATION: 2, REDIRECTION: 0x10 } as const;

/** Redirection entry, low half. */
const Entry = { LOGICAL: 1 << 11, REMOTE_IRR: 1 << 14, LEVEL: 1 << 15, MASKED: 1 << 16 } as const;
/** All but delivery status and remote IRR. */
const WRITABLE = 0x1afff;

/** Receives the IOAPIC's messages (LocalApics). */
export interface InterruptSink {
  deliver(destination: number, logical: boolean, mode: number, vector: number, level: boolean): void;
}

export class IoApic implements RegisterWindow {
  readonly name = "ioapic";
  readonly start: number;
  readonly length = 0x1000;
  readonly #w: Int32Array;
  readonly #lock: SpinLock;
  readonly #sink: InterruptSink;

  constructor(start: number, buffer: SharedArrayBuffer, offset: number, sink: InterruptSink) {
    this.start = start;
    this.#w = new Int32Array(buffer, offset, IOAPIC_STATE_BYTES / 4);
    this.#lock = new SpinLock(this.#w, Word.LOCK);
    this.#sink = sink;
  }

  /** Power-on state: all pins masked, all lines low. */
  reset(): void {
    this.#w.fill(0);
    this.#w.fill(Entry.MASKED, Word.LOW, Word.LOW + PINS);
  }
  /** @param pin 0–23, the global system interrupt */
  line(pin: number): InterruptLine {
    return { set: (asserted) => this.#setLine(pin, asserted) };
  }
  /** A local APIC ended a level-triggered interrupt: pins with this vector that are still asserted send again. */
  endOfInterrupt(vector: number): void {
    this.#lock.lock();
    for (let pin = 0; pin < PINS; pin++) {
      const low = this.#w[Word.LOW + pin]!;
      if ((low & 0xff) !== vector || (low & Entry.REMOTE_IRR) === 0) continue;
      this.#w[Word.LOW + pin] = low & ~Entry.REMOTE_IRR;
      this.#evaluate(pin);
    }
    this.#lock.unlock();
  }

  #setLine(pin: number, asserted: boolean): void {
    this.#lock.lock();
    const lines = this.#w[Word.LINES]!;
    const bit = 1 << pin;
    if (((lines & bit) !== 0) !== asserted) {
      this.#w[Word.LINES] = lines ^ bit;
      if (asserted) {
        if ((this.#w[Word.LOW + pin]! & Entry.LEVEL) !== 0) this.#evaluate(pin);
        else this.#send(pin);
      }
    }
    this.#lock.unlock();
  }
  /** Sends a level-triggered pin's message if its line is asserted and no earlier one is being served. */
  #evaluate(pin: number): void {
    const low = this.#w[Word.LOW + pin]!;
    if ((low & Entry.LEVEL) === 0 || (low & Entry.REMOTE_IRR) !== 0 || (this.#w[Word.LINES]! & (1 << pin)) === 0)
      return;
    if (this.#send(pin)) this.#w[Word.LOW + pin] = low | Entry.REMOTE_IRR;
  }
  #send(pin: number): boolean {
    const low = this.#w[Word.LOW + pin]!;
    if ((low & Entry.MASKED) !== 0) return false;
    const destination = this.#w[Word.HIGH + pin]! >>> 24;
    this.#sink.deliver(destination, (low & Entry.LOGICAL) !== 0, (low >> 8) & 7, low & 0xff, (low & Entry.LEVEL) !== 0);
    return true;
  }

  read(offset: number): number {
    // Only 32-bit accesses at these two offsets mean anything; the bus hands narrower ones here too.
    if (offset === Offset.IOREGSEL) return this.#w[Word.SELECT]!;
    if (offset !== Offset.IOWIN) return 0;
    this.#lock.lock();
    const value = this.#readIndexed(this.#w[Word.SELECT]!);
    this.#lock.unlock();
    return value;
  }
  write(offset: number, _size: number, value: number | bigint): void {
    const v = Number(value) | 0;
    if (offset === Offset.EOI) return this.endOfInterrupt(v & 0xff);
    this.#lock.lock();
    if (offset === Offset.IOREGSEL) this.#w[Word.SELECT] = v & 0xff;
    else if (offset === Offset.IOWIN) this.#writeIndexed(this.#w[Word.SELECT]!, v);
    this.#lock.unlock();
  }
  #readIndexed(index: number): number {
    if (index === Index.ID || index === Index.ARBITRATION) return this.#w[Word.ID]!;
    if (index === Index.VERSION) return VERSION;
    const pin = (index - Index.REDIRECTION) >> 1;
    if (pin < 0 || pin >= PINS) return 0;
    return this.#w[((index & 1) === 0 ? Word.LOW : Word.HIGH) + pin]!;
  }
  #writeIndexed(index: number, value: number): void {
    if (index === Index.ID) this.#w[Word.ID] = value & 0x0f000000;
    const pin = (index - Index.REDIRECTION) >> 1;
    if (pin < 0 || pin >= PINS) return;
    if ((index & 1) === 1) {
      this.#w[Word.HIGH + pin] = value & 0xff000000;
      return;
    }
    let low = (this.#w[Word.LOW + pin]! & Entry.REMOTE_IRR) | (value & WRITABLE);
    // Linux clears a stuck remote IRR by switching the pin to edge and back.
    if ((low & Entry.LEVEL) === 0) low &= ~Entry.REMOTE_IRR;
    this.#w[Word.LOW + pin] = low;
    this.#evaluate(pin);
  }
}
