/* DeviceService: the I/O thread's side of a machine's devices. Answers the doorbell: serves virtio backs, carries the UART's bytes, reports power
 * requests. Main thread only. */
import type { GuestMemory } from "../memory/guest-memory.ts";
import type { Devices } from "./layout.ts";
import type { PowerRequest } from "./power.ts";
import { VirtioBack } from "./virtio/back.ts";
import type { GiveBack, VirtioDevice } from "./virtio/device.ts";

/** The UART's output is looked at this often while it flows, so that the guest need not ring for each character. */
const SERIAL_LOOK_MS = 4;
/** The UART's input ring was full: typed text waits this long before the next try. */
const SERIAL_RETRY_MS = 10;

export interface DeviceServiceOptions {
  memory: GuestMemory;
  /** Backs, in the order of layout.virtio. */
  virtio: readonly VirtioDevice[];
  /** For devices by which the guest gives memory back. */
  giveBack?: GiveBack;
  /** What the guest writes to the UART; owns the bytes. */
  onSerial(bytes: Uint8Array): void;
  onPower(request: Exclude<PowerRequest, "none">): void;
}

export class DeviceService {
  readonly #devices: Devices;
  readonly #options: DeviceServiceOptions;
  readonly #backs: readonly VirtioBack[];
  readonly #stopBell: () => Promise<void>;
  #look: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #typed = new Uint8Array(0);

  constructor(devices: Devices, options: DeviceServiceOptions) {
    if (options.virtio.length !== devices.virtio.length) throw new RangeError("one back for each virtio front");
    this.#devices = devices;
    this.#options = options;
    this.#backs = devices.virtio.map(
      (front, i) => new VirtioBack(front, options.virtio[i]!, options.memory, options.giveBack),
    );
    this.#stopBell = devices.doorbell.serve((bits) => this.#serve(bits));
  }

  /** Guest memory that devices' requests under way may use. */
  heldMemory(): Uint8Array[] {
    return this.#backs.flatMap((back) => back.heldMemory());
  }
  /** Text typed at the UART. Never blocks; what finds no room waits. */
  typeSerial(bytes: Uint8Array): void {
    this.#typed = Buffer.concat([this.#typed, bytes]);
    this.#typeRest();
  }
  /** No more calls to backs and handlers afterwards; the UART's last output is delivered first. */
  async stop(): Promise<void> {
    clearTimeout(this.#look);
    clearTimeout(this.#retry);
    await this.#stopBell();
    this.#takeSerial();
  }

  #serve(bits: number): void {
    const { layout } = this.#devices;
    if ((bits & (1 << layout.serial.bell)) !== 0) this.#lookAtSerial();
    layout.virtio.forEach((place, i) => {
      if ((bits & (1 << place.bell)) !== 0) this.#backs[i]!.serve();
    });
    if ((bits & (1 << layout.power.bell)) === 0) return;
    const request = this.#devices.power.request;
    if (request !== "none") this.#options.onPower(request);
  }
  #takeSerial(): boolean {
    const bytes = this.#devices.serial.takeOutput();
    if (bytes.length > 0) this.#options.onSerial(bytes);
    return bytes.length > 0;
  }
  #lookAtSerial(): void {
    const { serial } = this.#devices;
    clearTimeout(this.#look);
    serial.watch(true);
    let flows = this.#takeSerial();
    if (!flows) {
      serial.watch(false);
      // A character may have come between the look and the end of the watch.
      flows = this.#takeSerial();
      if (flows) serial.watch(true);
    }
    if (flows) this.#look = setTimeout(() => this.#lookAtSerial(), SERIAL_LOOK_MS);
  }
  #typeRest(): void {
    clearTimeout(this.#retry);
    this.#typed = this.#typed.subarray(this.#devices.serial.putInput(this.#typed));
    if (this.#typed.length > 0) this.#retry = setTimeout(() => this.#typeRest(), SERIAL_RETRY_MS);
  }
}
