/* Tells from a guest's serial port that its Linux has panicked. There is no other sign: a panic either resets the machine, as a reboot does, or stays for ever in a
 * loop with interrupts on. @source Linux kernel/panic.c panic() */

/** How much of the end of the output is kept. A panic's report (registers, call trace) is a few KiB long. */
const KEPT = 16_384;
const TIME = String.raw`^(?:\[ *\d+\.\d{6}\] )?`;
const BEGIN = new RegExp(`${TIME}Kernel panic - not syncing: `, "m");
/** Said when the kernel will not reboot; nothing follows it. */
const FINAL = new RegExp(`${TIME}---\\[ end Kernel panic - not syncing: .*\\]---$`);

/** Reads along. The text alone is no proof: programs may print the same words. */
export class PanicWatch {
  #text = "";

  /** Takes output in any pieces. */
  push(bytes: Uint8Array): void {
    this.#text = (this.#text + Buffer.from(bytes).toString("latin1")).slice(-KEPT);
  }

  /** Was the end of the output a panic? */
  get panicked(): boolean {
    return BEGIN.test(this.#text);
  }

  /** Are its last words those of a kernel that stays in its panic? */
  get final(): boolean {
    return FINAL.test(this.#text.trimEnd().split("\n").at(-1)!);
  }
}
