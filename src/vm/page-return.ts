/* PageReturn: takes frames from a running guest, which said that it does not need their pages, and gives them to the host and to the pool. Main thread only; does not
 * block. @source docs/memory.md, which says why each step is where it is */
import { setImmediate } from "node:timers/promises";
import { allPassed } from "../engine/wasm/world.ts";
import { FRAME_BYTES } from "../memory/frames.ts";
import type { GuestRam } from "../memory/guest-ram.ts";

/** So many pages at a time, then the I/O thread has its turn: about a millisecond. */
const PAGES_AT_A_TIME = 1024;
/** Frames that a device's request used are looked at again after this. */
const LOOK_AGAIN_MS = 500;

export interface PageReturnOptions {
  ram: GuestRam;
  /** The state memory. */
  state: WebAssembly.Memory;
  executors: number;
  /** Guest memory that requests of devices under way may use. */
  heldMemory(): readonly Uint8Array[];
  /** Gives host memory back: bytes of the frames memory, which read as zeroes then or keep what they are. */
  toHost(offset: number, length: number): void;
}

export class PageReturn {
  readonly #options: PageReturnOptions;
  readonly #words: Int32Array;
  /** Taken from the guest, and still used by a request. */
  #aside: number[] = [];
  #again: NodeJS.Timeout | undefined;
  /** One after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: PageReturnOptions) {
    this.#options = options;
    this.#words = new Int32Array(options.state.buffer);
  }

  /** VirtioPort.giveBack. */
  giveBack(pages: readonly number[]): Promise<number> {
    const done = this.#last.then(() => this.#giveBack(pages));
    this.#last = done.catch(() => undefined);
    return done;
  }
  async #giveBack(pages: readonly number[]): Promise<number> {
    const { ram, executors } = this.#options;
    let count = 0;
    for (let at = 0; at < pages.length; at += PAGES_AT_A_TIME) {
      if (at > 0) await setImmediate();
      const some = pages.slice(at, at + PAGES_AT_A_TIME);
      const frames = some.map((page) => ram.unmap(page)).filter((frame) => frame !== 0);
      if (frames.length === 0) continue;
      await allPassed(this.#words, executors);
      this.#free(frames);
      count += frames.length;
    }
    return count;
  }

  /** Frees frames whose addresses no executor holds, but for those that a request uses. */
  #free(frames: readonly number[]): void {
    const { ram } = this.#options;
    const held = this.#heldFrames();
    const free: number[] = [];
    for (const frame of frames) (held.has(frame) ? this.#aside : free).push(frame);
    for (const frame of free) {
      const holders = ram.codeHolders(frame);
      if (holders !== 0) ram.tellStale(frame, holders);
    }
    for (const [first, length] of runs(free)) this.#options.toHost(first * FRAME_BYTES, length * FRAME_BYTES);
    for (const frame of free) ram.pool.free(frame);
    if (this.#aside.length > 0) this.#again ??= setTimeout(() => this.#lookAgain(), LOOK_AGAIN_MS).unref();
  }
  #lookAgain(): void {
    this.#again = undefined;
    const aside = this.#aside;
    this.#aside = [];
    this.#free(aside);
  }
  #heldFrames(): Set<number> {
    const held = new Set<number>();
    for (const { byteOffset, length } of this.#options.heldMemory()) {
      const last = Math.floor((byteOffset + length - 1) / FRAME_BYTES);
      for (let frame = Math.floor(byteOffset / FRAME_BYTES); frame <= last; frame++) held.add(frame);
    }
    return held;
  }
  /** The machine has ended, and nobody runs: what its memory holds is nobody's, though V8 may keep the buffer for long. */
  end(): void {
    clearTimeout(this.#again);
    this.#options.toHost(0, this.#options.ram.pool.bytes.length);
  }
}

/** Frames that follow one another: [first, how many]. */
function runs(frames: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  for (const frame of frames.toSorted((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[0] + last[1] === frame) last[1]++;
    else found.push([frame, 1]);
  }
  return found;
}
