/* The user's terminal attached to a guest's console: raw mode, an escape key, and the terminal as it was on every way out. */

/** Ctrl-], as in telnet and virsh: no common program in a guest needs it. */
export const ESCAPE_BYTE = 0x1d;
const QUIT_KEYS: readonly number[] = [0x71, 0x51]; // q Q
/** Ctrl-D: what a terminal sends for the end of input. */
const END_OF_INPUT = Uint8Array.of(0x04);

/** Looks for the escape in what the user types: Ctrl-] q leaves, Ctrl-] Ctrl-] types one Ctrl-], any other key after Ctrl-] goes through with it. */
export class EscapeFilter {
  #pending = false;

  /** @returns the bytes for the guest, and whether the user wants to leave (what follows the escape is dropped) */
  feed(bytes: Uint8Array): { forward: Uint8Array; leave: boolean } {
    const forward: number[] = [];
    for (const byte of bytes) {
      if (!this.#pending) {
        if (byte === ESCAPE_BYTE) this.#pending = true;
        else forward.push(byte);
        continue;
      }
      this.#pending = false;
      if (QUIT_KEYS.includes(byte)) return { forward: Uint8Array.from(forward), leave: true };
      if (byte !== ESCAPE_BYTE) forward.push(ESCAPE_BYTE);
      forward.push(byte);
    }
    return { forward: Uint8Array.from(forward), leave: false };
  }
}

/** What attaching needs of process.stdin. */
export interface TerminalInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  off(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  off(event: "end", listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

export interface TerminalHandlers {
  /** Bytes for the guest. */
  input(bytes: Uint8Array): void;
  /** The user typed the escape. */
  leave(): void;
}

/** How input is taken. "console": a terminal becomes raw (so that Ctrl-C reaches the guest) and has the escape; other input ends with Ctrl-D.
 *  "plain": bytes are passed on as they come. */
export type TerminalMode = "console" | "plain";

/** Sends what is typed to the guest. @returns detach: stops, and restores the terminal; may be called again */
export function attachTerminal(input: TerminalInput, mode: TerminalMode, handlers: TerminalHandlers): () => void {
  const isTerminal = mode === "console" && input.isTTY === true && input.setRawMode !== undefined;
  const escape = new EscapeFilter();
  const onData = (bytes: Uint8Array): void => {
    if (!isTerminal) return handlers.input(bytes);
    const { forward, leave } = escape.feed(bytes);
    if (forward.length > 0) handlers.input(forward);
    if (leave) handlers.leave();
  };
  const onEnd = (): void => {
    if (mode === "console") handlers.input(END_OF_INPUT);
  };
  let attached = true;
  const detach = (): void => {
    if (!attached) return;
    attached = false;
    process.off("exit", detach);
    input.off("data", onData);
    input.off("end", onEnd);
    input.pause();
    if (isTerminal) input.setRawMode?.(false);
  };
  // A crash of this process must not leave the user's shell in raw mode.
  process.on("exit", detach);
  input.on("data", onData);
  input.on("end", onEnd);
  if (isTerminal) input.setRawMode?.(true);
  input.resume();
  return detach;
}
