/* 16550A UART at port 0x3F8: the early console. @source National PC16550D datasheet §8; Linux drivers/tty/serial/8250 for how it is probed.
 * The front runs on executors under its lock; bytes go to the I/O thread, and come from it, through two rings in shared memory.
 * Leaves out: baud rates and parity (bytes pass at once), modem lines other than "connected", DMA modes. */
import type { InterruptLine, RegisterWindow } from "./bus.ts";
import { type Doorbell, SpinLock } from "./shared.ts";

const TX_RING = 16384;
const RX_RING = 4096;
const FIFO = 16;
const TX_BYTES = 4 * 24 + FIFO;

/** i32 words of shared state; after them the loopback FIFO, then both rings. Ring positions count bytes and wrap at 2^32. */
const Word = {
  LOCK: 0,
  IER: 1,
  FCR: 2,
  LCR: 3,
  MCR: 4,
  SCR: 5,
  DIVISOR: 6,
  LSR_ERRORS: 7,
  MSR_DELTA: 8,
  THR_EMPTY_PENDING: 9,
  LOOP_COUNT: 10,
  LINE: 11,
  TX_HEAD: 12,
  TX_TAIL: 13,
  TX_WATCHED: 14,
  TX_WAS_FULL: 15,
  RX_HEAD: 16,
  RX_TAIL: 17,
} as const;
export const SERIAL_STATE_BYTES = TX_BYTES + TX_RING + RX_RING;

const Ier = { RDA: 1, THRE: 2, LINE: 4, MODEM: 8 } as const;
const Iir = { NONE: 1, MODEM: 0, THRE: 2, RDA: 4, LINE: 6, TIMEOUT: 12, FIFO: 0xc0 } as const;
const Lsr = { DATA_READY: 1, OVERRUN: 2, THRE: 0x20, TEMT: 0x40 } as const;
const MCR_OUT2 = 8;
const MCR_LOOP = 0x10;
const LCR_DLAB = 0x80;
/** Carrier, data set ready, clear to send. */
const MSR_CONNECTED = 0xb0;
const TRIGGER = [1, 4, 8, 14];

export class Serial implements RegisterWindow {
  readonly name = "serial";
  readonly start: number;
  readonly length = 8;
  readonly #w: Int32Array;
  readonly #loop: Uint8Array;
  readonly #tx: Uint8Array;
  readonly #rx: Uint8Array;
  readonly #lock: SpinLock;
  readonly #line: InterruptLine;
  readonly #doorbell: Doorbell;
  readonly #bell: number;

  /** @param start port number  @param bell the bit of the doorbell that says "there are bytes to take" */
  constructor(
    start: number,
    buffer: SharedArrayBuffer,
    offset: number,
    line: InterruptLine,
    doorbell: Doorbell,
    bell: number,
  ) {
    this.start = start;
    this.#w = new Int32Array(buffer, offset, 24);
    this.#loop = new Uint8Array(buffer, offset + 4 * 24, FIFO);
    this.#tx = new Uint8Array(buffer, offset + TX_BYTES, TX_RING);
    this.#rx = new Uint8Array(buffer, offset + TX_BYTES + TX_RING, RX_RING);
    this.#lock = new SpinLock(this.#w, Word.LOCK);
    this.#line = line;
    this.#doorbell = doorbell;
    this.#bell = bell;
  }

  // ── guest side: any executor ──

  read(offset: number): number {
    // The console polls LSR before every character: no lock, no interrupt to work out.
    if (offset === 5 && this.#w[Word.LSR_ERRORS] === 0) return this.#lineStatus();
    this.#lock.lock();
    const value = this.#read(offset);
    this.#lock.unlock();
    return value;
  }
  write(offset: number, _size: number, value: number | bigint): void {
    this.#lock.lock();
    this.#write(offset, Number(value) & 0xff);
    this.#lock.unlock();
  }
  #read(offset: number): number {
    const w = this.#w;
    const dlab = (w[Word.LCR]! & LCR_DLAB) !== 0;
    switch (offset) {
      case 0:
        return dlab ? w[Word.DIVISOR]! & 0xff : this.#receive();
      case 1:
        return dlab ? w[Word.DIVISOR]! >> 8 : w[Word.IER]!;
      case 2:
        return this.#identify();
      case 3:
        return w[Word.LCR]!;
      case 4:
        return w[Word.MCR]!;
      case 5: {
        const status = this.#lineStatus() | w[Word.LSR_ERRORS]!;
        w[Word.LSR_ERRORS] = 0;
        this.#update();
        return status;
      }
      case 6: {
        const status = this.#modemStatus() | w[Word.MSR_DELTA]!;
        w[Word.MSR_DELTA] = 0;
        this.#update();
        return status;
      }
      default:
        return w[Word.SCR]!;
    }
  }
  #write(offset: number, value: number): void {
    const w = this.#w;
    const dlab = (w[Word.LCR]! & LCR_DLAB) !== 0;
    if (offset === 0 && dlab) w[Word.DIVISOR] = (w[Word.DIVISOR]! & 0xff00) | value;
    else if (offset === 0) this.#transmit(value);
    else if (offset === 1 && dlab) w[Word.DIVISOR] = (w[Word.DIVISOR]! & 0xff) | (value << 8);
    else if (offset === 1) this.#writeIer(value & 0x0f);
    else if (offset === 2) this.#writeFcr(value);
    else if (offset === 3) w[Word.LCR] = value;
    else if (offset === 4) this.#writeMcr(value & 0x1f);
    else if (offset === 7) w[Word.SCR] = value;
  }

  #writeIer(value: number): void {
    const before = this.#w[Word.IER]!;
    this.#w[Word.IER] = value;
    // Enabling the interrupt while the register is empty raises it: the 8250 driver tests for chips that do not.
    if ((value & ~before & Ier.THRE) !== 0 && this.#hasRoom()) this.#w[Word.THR_EMPTY_PENDING] = 1;
    this.#update();
  }
  #writeFcr(value: number): void {
    const enable = value & 1;
    if (enable !== (this.#w[Word.FCR]! & 1) || (value & 2) !== 0) {
      this.#w[Word.LOOP_COUNT] = 0;
      Atomics.store(this.#w, Word.RX_HEAD, Atomics.load(this.#w, Word.RX_TAIL));
    }
    this.#w[Word.FCR] = enable === 0 ? 0 : value & 0xc9;
    this.#update();
  }
  #writeMcr(value: number): void {
    const before = this.#modemStatus();
    if ((value & MCR_LOOP) === 0) this.#w[Word.LOOP_COUNT] = 0;
    this.#w[Word.MCR] = value;
    const changed = before ^ this.#modemStatus();
    // Delta bits 0, 1, 3 on any change of CTS, DSR, DCD; bit 2 only when RI falls.
    this.#w[Word.MSR_DELTA]! |= ((changed >> 4) & 0x0b) | ((changed & before & 0x40) >> 4);
    this.#update();
  }
  #transmit(value: number): void {
    const w = this.#w;
    if ((w[Word.MCR]! & MCR_LOOP) !== 0) this.#loopBack(value);
    else this.#send(value);
    // The byte is gone at once, so the register is empty again: a new edge of the THRE interrupt.
    if (this.#hasRoom()) w[Word.THR_EMPTY_PENDING] = 1;
    else {
      w[Word.THR_EMPTY_PENDING] = 0;
      w[Word.TX_WAS_FULL] = 1;
    }
    this.#update();
  }
  #loopBack(value: number): void {
    const count = this.#w[Word.LOOP_COUNT]!;
    if (count < ((this.#w[Word.FCR]! & 1) !== 0 ? FIFO : 1)) {
      this.#loop[count] = value;
      this.#w[Word.LOOP_COUNT] = count + 1;
    } else this.#w[Word.LSR_ERRORS]! |= Lsr.OVERRUN;
  }
  #send(value: number): void {
    const tail = this.#w[Word.TX_TAIL]!;
    const used = (tail - Atomics.load(this.#w, Word.TX_HEAD)) | 0;
    if (used >= TX_RING) return;
    this.#tx[tail & (TX_RING - 1)] = value;
    Atomics.store(this.#w, Word.TX_TAIL, (tail + 1) | 0);
    // While the host looks by itself every few milliseconds, a ring a character would cost more than the character.
    if (Atomics.load(this.#w, Word.TX_WATCHED) === 0 || used === TX_RING >> 1) this.#doorbell.ring(this.#bell);
  }
  #receive(): number {
    const w = this.#w;
    let value = 0;
    if ((w[Word.MCR]! & MCR_LOOP) !== 0) {
      if (w[Word.LOOP_COUNT]! > 0) {
        value = this.#loop[0]!;
        this.#loop.copyWithin(0, 1);
        w[Word.LOOP_COUNT]!--;
      }
    } else {
      const head = w[Word.RX_HEAD]!;
      if (head !== Atomics.load(w, Word.RX_TAIL)) {
        value = this.#rx[head & (RX_RING - 1)]!;
        Atomics.store(w, Word.RX_HEAD, (head + 1) | 0);
      }
    }
    this.#update();
    return value;
  }

  #available(): number {
    if ((this.#w[Word.MCR]! & MCR_LOOP) !== 0) return this.#w[Word.LOOP_COUNT]!;
    return (Atomics.load(this.#w, Word.RX_TAIL) - Atomics.load(this.#w, Word.RX_HEAD)) | 0;
  }
  /** Can the driver write a whole FIFO without asking again? */
  #hasRoom(): boolean {
    return ((this.#w[Word.TX_TAIL]! - Atomics.load(this.#w, Word.TX_HEAD)) | 0) <= TX_RING - FIFO;
  }
  #lineStatus(): number {
    return (this.#available() > 0 ? Lsr.DATA_READY : 0) | (this.#hasRoom() ? Lsr.THRE | Lsr.TEMT : 0);
  }
  #modemStatus(): number {
    const mcr = this.#w[Word.MCR]!;
    if ((mcr & MCR_LOOP) === 0) return MSR_CONNECTED;
    // Loopback: RTS → CTS, DTR → DSR, OUT1 → RI, OUT2 → DCD.
    return ((mcr & 2) << 3) | ((mcr & 1) << 5) | ((mcr & 4) << 4) | ((mcr & 8) << 4);
  }
  /** The pending interrupt of highest priority, as IIR shows it. */
  #pending(): number {
    const w = this.#w;
    const ier = w[Word.IER]!;
    if ((ier & Ier.LINE) !== 0 && w[Word.LSR_ERRORS] !== 0) return Iir.LINE;
    if ((ier & Ier.RDA) !== 0) {
      const available = this.#available();
      const trigger = (w[Word.FCR]! & 1) !== 0 ? TRIGGER[w[Word.FCR]! >> 6]! : 1;
      if (available >= trigger) return Iir.RDA;
      if (available > 0) return Iir.TIMEOUT;
    }
    if ((ier & Ier.THRE) !== 0 && w[Word.THR_EMPTY_PENDING] !== 0) return Iir.THRE;
    if ((ier & Ier.MODEM) !== 0 && w[Word.MSR_DELTA] !== 0) return Iir.MODEM;
    return Iir.NONE;
  }
  #identify(): number {
    const pending = this.#pending();
    if (pending === Iir.THRE) {
      this.#w[Word.THR_EMPTY_PENDING] = 0;
      this.#update();
    }
    return pending | ((this.#w[Word.FCR]! & 1) !== 0 ? Iir.FIFO : 0);
  }
  #update(): void {
    if (this.#w[Word.IER] === 0) return this.#drive(0);
    // On a PC the interrupt reaches the line only through OUT2, which loopback disconnects.
    const connected = (this.#w[Word.MCR]! & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2;
    this.#drive(connected && this.#pending() !== Iir.NONE ? 1 : 0);
  }
  #drive(asserted: number): void {
    // The state of the line is kept beside the registers so that most accesses need not take the IOAPIC's lock.
    if (this.#w[Word.LINE] === asserted) return;
    this.#w[Word.LINE] = asserted;
    this.#line.set(asserted === 1);
  }

  // ── host side: the I/O thread ──

  /** Takes what the guest has sent. @returns empty if nothing */
  takeOutput(): Uint8Array {
    const head = this.#w[Word.TX_HEAD]!;
    const count = (Atomics.load(this.#w, Word.TX_TAIL) - head) | 0;
    const bytes = new Uint8Array(count);
    const first = Math.min(count, TX_RING - (head & (TX_RING - 1)));
    bytes.set(this.#tx.subarray(head & (TX_RING - 1), (head & (TX_RING - 1)) + first));
    bytes.set(this.#tx.subarray(0, count - first), first);
    Atomics.store(this.#w, Word.TX_HEAD, (head + count) | 0);
    this.#lock.lock();
    if (this.#w[Word.TX_WAS_FULL] !== 0 && this.#hasRoom()) {
      this.#w[Word.TX_WAS_FULL] = 0;
      this.#w[Word.THR_EMPTY_PENDING] = 1;
      this.#update();
    }
    this.#lock.unlock();
    return bytes;
  }
  /** Says whether the host will call takeOutput() by itself soon, so that the guest need not ring. After watch(false) look once more. */
  watch(watched: boolean): void {
    Atomics.store(this.#w, Word.TX_WATCHED, watched ? 1 : 0);
  }
  /** Bytes typed by the user. @returns how many found room; offer the rest again later */
  putInput(bytes: Uint8Array): number {
    this.#lock.lock();
    const tail = this.#w[Word.RX_TAIL]!;
    const room = RX_RING - ((tail - Atomics.load(this.#w, Word.RX_HEAD)) | 0);
    const count = Math.min(room, bytes.length);
    for (let i = 0; i < count; i++) this.#rx[(tail + i) & (RX_RING - 1)] = bytes[i]!;
    Atomics.store(this.#w, Word.RX_TAIL, (tail + count) | 0);
    this.#update();
    this.#lock.unlock();
    return count;
  }
}
