/* RestartPort: what Linux does when it restarts a machine with hardware-reduced ACPI and without EFI. It tries EFI first, does not try ACPI's reset register then, and at last clears
 * the shutdown status in the CMOS (address 0Fh, with the bit that holds NMIs off), goes back to real mode and jumps to the BIOS. Here there is neither, so the first of
 * these steps is the reset. Leaves out all else of the CMOS: reads give ones. @source Linux arch/x86/kernel/reboot.c machine_real_restart(), efi_reboot_required() */
import type { RegisterWindow } from "./bus.ts";
import type { PowerWindow } from "./power.ts";

/** With bit 7: starting another processor writes the same address without it. */
const SHUTDOWN_STATUS_NMI_OFF = 0x8f;
export const RESTART_PORT = 0x70;
export const RESTART_STATE_BYTES = 4;

export class RestartPort implements RegisterWindow {
  readonly name = "restart";
  readonly start = RESTART_PORT;
  readonly length = 2;
  readonly #address: Int32Array;
  readonly #power: PowerWindow;

  constructor(buffer: SharedArrayBuffer, offset: number, power: PowerWindow) {
    this.#address = new Int32Array(buffer, offset, 1);
    this.#power = power;
  }

  read(_offset: number, size: number): number {
    return size === 1 ? 0xff : 0xffff;
  }
  write(offset: number, size: number, value: number | bigint): void {
    if (size !== 1) return;
    if (offset === 0) Atomics.store(this.#address, 0, Number(value));
    else if (Atomics.load(this.#address, 0) === SHUTDOWN_STATUS_NMI_OFF && Number(value) === 0) this.#power.askReset();
  }
}
