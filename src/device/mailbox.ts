/* The ACPI multiprocessor wakeup mailbox: how the guest starts its other processors. @source ACPI 6.5 §5.2.12.19 "Multiprocessor Wakeup Structure"
 * To the guest it is a page of firmware memory that each parked processor polls; here it is a window, so that the write of the command finds the vCPU, which waits
 * for it without running. Keeps the fields that mean something; the parts reserved for the OS and the firmware read as 0.
 *
 *   +0  u16 command          0 none, 1 wake up; back to 0 when the processor has taken it
 *   +4  u32 APIC id
 *   +8  u64 wakeup vector    address of 64-bit code, run with interrupts off on the firmware's identity map
 */
import type { Wakeups } from "../engine/wakeups.ts";
import { Reg } from "../isa/registers.ts";
import type { RegisterWindow } from "./bus.ts";

const Command = { NONE: 0, WAKEUP: 1 } as const;
/** i32 words of shared state. */
const Word = { COMMAND: 0, APIC_ID: 1, VECTOR: 2 } as const;
export const MAILBOX_STATE_BYTES = 16;
export const MAILBOX_BYTES = 0x1000;

/** Reg.RUN_STATE of a vCPU that has not been started. */
export const STOPPED = 2;

export class WakeupMailbox implements RegisterWindow {
  readonly name = "mailbox";
  readonly start: number;
  readonly length = MAILBOX_BYTES;
  readonly #w: Int32Array;
  readonly #registerFiles: readonly Int32Array[];
  readonly #wakeups: Wakeups;

  constructor(
    start: number,
    buffer: SharedArrayBuffer,
    offset: number,
    registerFiles: readonly Int32Array[],
    wakeups: Wakeups,
  ) {
    this.start = start;
    this.#w = new Int32Array(buffer, offset, MAILBOX_STATE_BYTES / 4);
    this.#registerFiles = registerFiles;
    this.#wakeups = wakeups;
  }

  read(offset: number): number {
    if (offset === 0) return this.#w[Word.COMMAND]!;
    return offset % 4 === 0 ? (this.#w[offset / 4] ?? 0) : 0;
  }
  write(offset: number, size: number, value: number | bigint): void {
    const v = Number(value) | 0;
    if (offset === 0) this.#command(v & 0xffff);
    else if (size === 4 && offset < MAILBOX_STATE_BYTES) this.#w[offset / 4] = v;
  }
  #command(command: number): void {
    const target = this.#w[Word.APIC_ID]!;
    const regs = this.#registerFiles[target];
    // What no processor takes stays there, as in memory.
    if (command !== Command.WAKEUP || regs === undefined || Atomics.load(regs, Reg.RUN_STATE >> 2) !== STOPPED) {
      this.#w[Word.COMMAND] = command;
      return;
    }
    for (const half of [0, 1]) {
      regs[(Reg.RIP >> 2) + half] = this.#w[Word.VECTOR + half]!;
      regs[(Reg.WAKING >> 2) + half] = regs[(Reg.CR3 >> 2) + half]!;
    }
    this.#w[Word.COMMAND] = Command.NONE;
    Atomics.store(regs, Reg.RUN_STATE >> 2, 0);
    this.#wakeups.wake(target);
  }
}
