/* VirtioBack: one device's back on the I/O thread, joined to its front. Called when the device's bit of the doorbell was rung. */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { GiveBack, VirtioDevice, VirtioPort } from "./device.ts";
import { VIRTIO_CONFIG, type VirtioMmio } from "./mmio.ts";
import { Virtqueue } from "./queue.ts";

export class VirtioBack implements VirtioPort {
  readonly queues: readonly Virtqueue[];
  readonly #front: VirtioMmio;
  readonly #device: VirtioDevice;
  readonly giveBack: GiveBack;
  #epoch = 0;

  /** @param giveBack keeps all, if absent */
  constructor(
    front: VirtioMmio,
    device: VirtioDevice,
    memory: GuestMemory,
    giveBack: GiveBack = () => Promise.resolve(0),
  ) {
    this.giveBack = giveBack;
    this.#front = front;
    this.#device = device;
    this.queues = front.description.queueSizes.map((_, index) => new Virtqueue(front, index, memory));
    device.attach(this);
  }
  get running(): boolean {
    return this.#front.running;
  }
  negotiated(feature: number): boolean {
    return this.#front.negotiated(feature);
  }
  setConfig(offset: number, bytes: Uint8Array): void {
    this.#front.setConfig(offset, bytes);
  }
  readConfig32(offset: number): number {
    return this.#front.read(VIRTIO_CONFIG + offset, 4);
  }
  /** Guest memory that requests under way may use. */
  heldMemory(): Uint8Array[] {
    return this.queues.flatMap((queue) =>
      [...queue.held()].flatMap(({ readable, writable }) => [...readable, ...writable]),
    );
  }
  /** Serves the queues that were notified. Never blocks. */
  serve(): void {
    const notified = this.#front.takeNotified();
    if (this.#epoch !== this.#front.epoch) {
      this.#epoch = this.#front.epoch;
      this.#device.reset?.();
    }
    for (const queue of this.queues) {
      if ((notified & (1 << queue.index)) === 0) continue;
      queue.begin();
      this.#device.process(queue.index);
    }
  }
}
