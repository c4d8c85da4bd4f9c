/* virtio entropy device: fills the driver's buffers with random bytes of the host. @source virtio 1.2 §5.4 */
import { fillRandom } from "../random.ts";
import { scatter } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";

/** A device may give less than was asked; Linux asks for at most a page. */
const MAX_BYTES = 4096;

export class RngDevice implements VirtioDevice {
  readonly description: VirtioDescription = {
    name: "rng",
    deviceId: 4,
    features: [],
    queueSizes: [64],
    config: new Uint8Array(0),
  };
  // The host's generator does not write into shared memory.
  readonly #entropy = new Uint8Array(MAX_BYTES);
  #port!: VirtioPort;

  attach(port: VirtioPort): void {
    this.#port = port;
  }
  process(queueIndex: number): void {
    const queue = this.#port.queues[queueIndex]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = this.#entropy.subarray(0, Math.min(MAX_BYTES, chain.writableBytes));
      fillRandom(bytes);
      queue.push(chain, scatter(chain.writable, bytes));
      bytes.fill(0);
    }
    queue.signal();
  }
}
