/* The power window: ACPI's sleep control and status registers and the reset register of the hardware-reduced FADT, in one page of MMIO.
 * @source ACPI 6.5 §4.8.3.7 (sleep control/status), §4.8.3.6 (reset register). A request is kept in shared memory; every vCPU is asked to come out.
 *
 *   +0  u8  SLEEP_CONTROL   bits 2–4 SLP_TYP, bit 5 SLP_EN
 *   +1  u8  SLEEP_STATUS    bit 7 WAK_STS, write 1 to clear (never set: S5 is the only state)
 *   +8  u8  RESET           writing RESET_VALUE resets
 */
import { Attention } from "../engine/engine.ts";
import type { Wakeups } from "../engine/wakeups.ts";
import type { RegisterWindow } from "./bus.ts";
import type { Doorbell } from "./shared.ts";

export const PowerOffset = { SLEEP_CONTROL: 0, SLEEP_STATUS: 1, RESET: 8 } as const;
/** SLP_TYP of S5, as the DSDT's \_S5 package says. */
export const SLEEP_TYPE_S5 = 5;
export const RESET_VALUE = 0x42;
export const POWER_STATE_BYTES = 4;
const SLP_EN = 1 << 5;
const REQUESTS = ["none", "power-off", "reset"] as const;
export type PowerRequest = (typeof REQUESTS)[number];

export class PowerWindow implements RegisterWindow {
  readonly name = "power";
  readonly start: number;
  readonly length = 16;
  readonly #w: Int32Array;
  readonly #wakeups: Wakeups;
  readonly #doorbell: Doorbell;
  readonly #bell: number;

  constructor(
    start: number,
    buffer: SharedArrayBuffer,
    offset: number,
    wakeups: Wakeups,
    doorbell: Doorbell,
    bell: number,
  ) {
    this.start = start;
    this.#w = new Int32Array(buffer, offset, 1);
    this.#wakeups = wakeups;
    this.#doorbell = doorbell;
    this.#bell = bell;
  }

  /** What the guest has asked for; stays until clear(). Any thread. */
  get request(): PowerRequest {
    return REQUESTS[Atomics.load(this.#w, 0)]!;
  }
  clear(): void {
    Atomics.store(this.#w, 0, 0);
  }

  read(): number {
    return 0;
  }
  write(offset: number, _size: number, value: number | bigint): void {
    const v = Number(value) & 0xff;
    if (offset === PowerOffset.SLEEP_CONTROL && (v & SLP_EN) !== 0 && ((v >> 2) & 7) === SLEEP_TYPE_S5) this.#ask(1);
    if (offset === PowerOffset.RESET && v === RESET_VALUE) this.askReset();
  }
  /** The guest wants the machine reset. On its executor's thread. */
  askReset(): void {
    this.#ask(2);
  }
  #ask(request: number): void {
    // The first request wins: a reset that races with a power-off must not undo it.
    if (Atomics.compareExchange(this.#w, 0, 0, request) !== 0) return;
    this.#wakeups.wakeAll(Attention.COME_OUT);
    this.#doorbell.ring(this.#bell);
  }
}
