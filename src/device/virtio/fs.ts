/* virtio file system device: carries FUSE requests between the driver and a server. @source virtio 1.2 §5.11
 * Leaves out: the DAX window, notifications (VIRTIO_FS_F_NOTIFICATION), more than one request queue.
 *
 *   queues   0 hiprio (FORGET, INTERRUPT)   1 requests
 *   config   +0 u8 tag[36], UTF-8, padded with NUL   +36 u32 num_request_queues
 */
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import type { FuseServer } from "./fuse-server.ts";
import type { Virtqueue } from "./queue.ts";

const TAG_BYTES = 36;
const CONFIG_BYTES = 40;
/** The ring bounds the size of a request too: Linux asks for at most this less 4 pages at once. */
const RING = 512;
const HIPRIO_RING = 128;
/** Requests under way; each holds at most a few descriptors of the host. */
const MOST_AT_ONCE = 64;

export interface FsOptions {
  /** What the guest mounts: 1 to 36 bytes of UTF-8 without NUL. */
  tag: string;
  /** Belongs to the caller, who closes it after the machine has ended. */
  server: FuseServer;
}

export class FsDevice implements VirtioDevice {
  readonly description: VirtioDescription;
  readonly #server: FuseServer;
  #port!: VirtioPort;
  #underWay = 0;

  /** @throws RangeError if the tag is empty or too long */
  constructor({ tag, server }: FsOptions) {
    const name = new TextEncoder().encode(tag);
    if (name.length === 0 || name.length > TAG_BYTES || name.includes(0))
      throw new RangeError(
        `the tag ${JSON.stringify(tag)} of a shared directory has ${name.length} bytes: give it 1 to ${TAG_BYTES}.`,
      );
    this.#server = server;
    const config = new Uint8Array(CONFIG_BYTES);
    config.set(name);
    config[TAG_BYTES] = 1;
    this.description = { name: "fs", deviceId: 26, features: [], queueSizes: [HIPRIO_RING, RING], config };
  }

  attach(port: VirtioPort): void {
    this.#port = port;
  }
  process(queueIndex: number): void {
    const queue = this.#port.queues[queueIndex]!;
    while (this.#underWay < MOST_AT_ONCE && this.#next(queue));
  }
  /** Takes one request. @returns false if there is none */
  #next(queue: Virtqueue): boolean {
    const chain = queue.pop();
    if (chain === undefined) return false;
    this.#underWay++;
    void this.#server.handle(chain.readable, chain.writable).then((written) => {
      queue.push(chain, written);
      queue.signal();
      // Whatever waits in the rings meanwhile, in both.
      if (this.#underWay-- === MOST_AT_ONCE) for (const { index } of this.#port.queues) this.process(index);
    });
    return true;
  }
}
