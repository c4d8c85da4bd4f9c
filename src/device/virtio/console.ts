/* virtio console with one port: the guest's terminal. @source virtio 1.2 §5.3. Leaves out: multiple ports, emergency write.
 *
 *   config  +0 u16 cols   +2 u16 rows   +4 u32 max_nr_ports   +8 u32 emerg_wr
 */
import { gather, scatter } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";

const VIRTIO_CONSOLE_F_SIZE = 0;
const RECEIVE = 0;
const TRANSMIT = 1;
const NOTHING = new Uint8Array(0);

export interface TerminalSize {
  columns: number;
  rows: number;
}

export class ConsoleDevice implements VirtioDevice {
  readonly description: VirtioDescription;
  readonly #output: (bytes: Uint8Array) => void;
  #waiting: Uint8Array[] = [];
  #port!: VirtioPort;
  /** Queues, a bit each, that have been used since the driver's reset. */
  #used = 0;

  /** @param output gets what the guest prints; owns the bytes */
  constructor(size: TerminalSize, output: (bytes: Uint8Array) => void) {
    this.#output = output;
    const config = new Uint8Array(12);
    config.set(sizeBytes(size));
    this.description = {
      name: "console",
      deviceId: 3,
      features: [VIRTIO_CONSOLE_F_SIZE],
      queueSizes: [256, 256],
      config,
    };
  }

  attach(port: VirtioPort): void {
    this.#port = port;
  }
  reset(): void {
    this.#used = 0;
  }
  process(queueIndex: number): void {
    this.#tellSize(queueIndex);
    if (queueIndex === RECEIVE) this.#receive();
    if (queueIndex === TRANSMIT) this.#transmit();
  }
  /** Bytes typed by the user; kept until the driver has room. The caller watches waitingBytes and stops reading its source meanwhile. */
  input(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#port.queues[RECEIVE]!.begin();
    this.#receive();
  }
  get waitingBytes(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
  }
  resize(size: TerminalSize): void {
    this.#port.setConfig(0, sizeBytes(size));
  }

  /** Linux's driver reads the size when it changes and not before, and until then makes the terminal 0×0 each time it is opened. So a queue's first
   *  use is a change. Receiving alone is not enough: the driver looks for its port in a list, and gives the port buffers shortly before it is there. */
  #tellSize(queueIndex: number): void {
    const bit = 1 << queueIndex;
    if ((this.#used & bit) !== 0 || this.#port.queues[queueIndex]!.peek(0) === undefined) return;
    this.#used |= bit;
    this.#port.setConfig(0, NOTHING);
  }
  #receive(): void {
    const queue = this.#port.queues[RECEIVE]!;
    while (this.#waiting.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const bytes = this.#waiting[0]!;
      const taken = scatter(chain.writable, bytes);
      queue.push(chain, taken);
      if (taken === bytes.length) this.#waiting.shift();
      else this.#waiting[0] = bytes.subarray(taken);
    }
    queue.signal();
  }
  #transmit(): void {
    const queue = this.#port.queues[TRANSMIT]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = gather(chain.readable, chain.readableBytes);
      queue.push(chain, 0);
      if (bytes.length > 0) this.#output(bytes);
    }
    queue.signal();
  }
}

function sizeBytes(size: TerminalSize): Uint8Array {
  return new Uint8Array(Uint16Array.of(size.columns, size.rows).buffer);
}
