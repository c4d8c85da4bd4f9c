/* What a device is to the machine. A device has a front (its registers: state in shared memory, code that runs on whichever executor touched
 * it, under the device's lock) and, where it does I/O, a back (queues, files, terminals) on the I/O thread, woken by a doorbell. */

/** Register window of a device, in guest-physical or port space. Called on an executor thread; never blocks, never throws on guest data. */
export interface RegisterWindow {
  readonly name: string;
  readonly start: number;
  readonly length: number;
  read(offset: number, size: 1 | 2 | 4 | 8): number | bigint;
  write(offset: number, size: 1 | 2 | 4 | 8, value: number | bigint): void;
}

/** An interrupt line into the IOAPIC. May be driven from any thread. */
export interface InterruptLine {
  /** Level-triggered: asserted until set(false). */
  set(asserted: boolean): void;
}

/** One address space (guest-physical or ports) of register windows. A window sees only naturally aligned accesses of 1, 2 or 4 bytes that lie
 *  inside it: the bus splits all others, low address first. Reads of nothing give all ones, writes to nothing vanish. */
export class Bus {
  readonly #windows: readonly RegisterWindow[];
  #last: RegisterWindow | undefined;

  /** @throws RangeError if windows overlap (a mistake of the machine's layout) */
  constructor(windows: readonly RegisterWindow[]) {
    this.#windows = [...windows].sort((a, b) => a.start - b.start);
    this.#windows.forEach((window, i) => {
      const next = this.#windows[i + 1];
      if (next && window.start + window.length > next.start)
        throw new RangeError(`${window.name} and ${next.name} overlap`);
    });
  }

  /** The window that holds `address`. */
  at(address: number): RegisterWindow | undefined {
    const last = this.#last;
    if (last && address >= last.start && address < last.start + last.length) return last;
    let low = 0;
    let high = this.#windows.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const window = this.#windows[middle]!;
      if (address < window.start) high = middle - 1;
      else if (address >= window.start + window.length) low = middle + 1;
      else return (this.#last = window);
    }
    return undefined;
  }

  /** @returns unsigned */
  read(address: number, size: 1 | 2 | 4): number {
    const window = this.at(address);
    if (window === undefined && size === 1) return 0xff;
    if (window !== undefined && fits(window, address, size))
      return Number(window.read(address - window.start, size)) >>> 0;
    const half = (size >> 1) as 1 | 2;
    const low = this.read(address, half);
    return (low | (this.read(address + half, half) << (8 * half))) >>> 0;
  }
  /** @returns unsigned */
  read64(address: number): bigint {
    const low = this.read(address, 4);
    return (BigInt(this.read(address + 4, 4)) << 32n) | BigInt(low);
  }
  /** @param value its low `size` bytes count */
  write(address: number, size: 1 | 2 | 4, value: number): void {
    const window = this.at(address);
    if (window === undefined && size === 1) return;
    if (window !== undefined && fits(window, address, size)) {
      const masked = size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff;
      window.write(address - window.start, size, masked);
      return;
    }
    const half = (size >> 1) as 1 | 2;
    this.write(address, half, value);
    this.write(address + half, half, value >>> (8 * half));
  }
  write64(address: number, value: bigint): void {
    this.write(address, 4, Number(value & 0xffffffffn));
    this.write(address + 4, 4, Number((value >> 32n) & 0xffffffffn));
  }
}

function fits(window: RegisterWindow, address: number, size: number): boolean {
  const offset = address - window.start;
  return address % size === 0 && offset + size <= window.length;
}
