/* GuestRam: one VM's guest-physical pages over a FramePool. Page map and code table are in a shared memory, so that executors, the I/O thread and generated code
 * see the same. It is a WebAssembly.Memory of their own: the state memory is smaller than they are for a large VM, and holds nothing of a VM that
 * other VMs of the cell do not have.
 *
 *   tables memory: 0 i64 pages in the map · 8 i32 offset of the code table · TABLES_MAP page map · code table
 *   page map (i32, one a guest page): −1 not RAM · 0 nothing yet · n frame n
 *   code table, per frame (i32 × 2 + 2 × executors):
 *     0      bit e: executor e has decoded code from here · bit 8 + e: it has been told to forget it, and has not yet
 *     1      bit v: vCPU v may hold the right to write here without looking at word 0 (a TLB entry)
 *     2 + 2e which of the 64 lines of 64 bytes executor e has code from; only it writes them
 *   stale ring (i32): 0 number of frames ever pushed; then RING pairs of frame, number + 1
 *
 * Who writes to a frame with code of an executor (another executor's vCPU, a device) pushes it on the stale ring; each executor drops the decoded blocks before
 * it runs again what it looks up, and before it delivers an interrupt. @source docs/vcpus.md "Code" */
import { FRAME_BYTES, FramePool, type SharedFrames } from "./frames.ts";
import type { GuestMemory } from "./guest-memory.ts";

const GIB = 1024 ** 3;
/** RAM below this, the rest from 4 GiB up: room for device windows. */
export const LOW_RAM_LIMIT = 3 * GIB;
const HIGH_RAM_START = 4 * GIB;
const STALE_RING = 1024;
/** Offsets in the tables memory. */
export const Tables = { MAP_PAGES: 0, CODE: 8, MAP: 16 } as const;
/** Of an entry of the code table, and the bits of its first word. */
export const CodeEntry = { HOLDERS: 0, WRITERS: 4, HOLDERS_MASK: 0xff, TOLD_SHIFT: 8 } as const;

/** i32 words of the code table a frame. */
const codeWords = (executors: number): number => 2 + 2 * executors;

export interface SharedGuestRam {
  frames: SharedFrames;
  tables: WebAssembly.Memory;
  stale: SharedArrayBuffer;
  sizeBytes: number;
  executors: number;
}

export class GuestRam implements GuestMemory {
  readonly pool: FramePool;
  readonly shared: SharedGuestRam;
  readonly sizeBytes: number;
  readonly map: Int32Array;
  /** `codeWords` words a frame; see the head. */
  readonly code: Int32Array;
  readonly codeWords: number;
  readonly #stale: Int32Array;
  #staleSeen = 0;
  #ranges: readonly { start: number; end: number }[];

  private constructor(shared: SharedGuestRam, pool: FramePool) {
    this.shared = shared;
    this.pool = pool;
    this.sizeBytes = shared.sizeBytes;
    const { buffer } = shared.tables;
    const [mapPages, , code] = new Uint32Array(buffer, 0, Tables.MAP / 4);
    this.codeWords = codeWords(shared.executors);
    this.map = new Int32Array(buffer, Tables.MAP, mapPages);
    this.code = new Int32Array(buffer, code, pool.shared.frames * this.codeWords);
    this.#stale = new Int32Array(shared.stale);
    const low = Math.min(shared.sizeBytes, LOW_RAM_LIMIT);
    this.#ranges = [{ start: 0, end: low }];
    if (shared.sizeBytes > low) {
      this.#ranges = [...this.#ranges, { start: HIGH_RAM_START, end: HIGH_RAM_START + shared.sizeBytes - low }];
    }
  }

  /** @param sizeBytes a multiple of 4096  @param executors how many threads decode its code */
  static create(pool: FramePool, sizeBytes: number, executors = 1): GuestRam {
    const low = Math.min(sizeBytes, LOW_RAM_LIMIT);
    const end = sizeBytes > low ? HIGH_RAM_START + sizeBytes - low : low;
    const mapPages = end / FRAME_BYTES;
    const code = Tables.MAP + Math.ceil((mapPages * 4) / 16) * 16;
    const pages = Math.ceil((code + pool.shared.frames * codeWords(executors) * 4) / 65536);
    const tables = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    new Uint32Array(tables.buffer).set([mapPages, 0, code]);
    const stale = new SharedArrayBuffer((1 + 2 * STALE_RING) * 4);
    const ram = new GuestRam({ frames: pool.shared, tables, stale, sizeBytes, executors }, pool);
    if (sizeBytes > low) ram.map.fill(-1, LOW_RAM_LIMIT / FRAME_BYTES, HIGH_RAM_START / FRAME_BYTES);
    return ram;
  }

  static attach(shared: SharedGuestRam): GuestRam {
    return new GuestRam(shared, FramePool.attach(shared.frames));
  }

  ranges(): readonly { start: number; end: number }[] {
    return this.#ranges;
  }

  contains(gpa: number, length: number): boolean {
    return this.#ranges.some((r) => gpa >= r.start && length <= r.end - gpa);
  }

  /** Byte offset of the frame behind a guest page, allocated if there is none yet; −1 if the page is not RAM.
   *  @param page guest-physical address / 4096 */
  frameAddress(page: number): number {
    if (page >= this.map.length) return -1;
    const frame = this.map[page];
    if (frame > 0) return frame * FRAME_BYTES;
    return frame < 0 ? -1 : this.#allocate(page);
  }

  #allocate(page: number): number {
    const fresh = this.pool.allocate();
    const other = Atomics.compareExchange(this.map, page, 0, fresh);
    if (other === 0) return fresh * FRAME_BYTES;
    this.pool.free(fresh);
    return other * FRAME_BYTES;
  }

  /** Takes a page's frame away: the page is "nothing yet". The caller frees the frame when nobody can hold its address any more. @returns 0 if there was none */
  unmap(page: number): number {
    for (;;) {
      const frame = page < this.map.length ? Atomics.load(this.map, page) : 0;
      if (frame <= 0) return 0;
      if (Atomics.compareExchange(this.map, page, frame, 0) === frame) return frame;
    }
  }
  /** Gives every frame back. The VM must not run any more. */
  release(): void {
    for (let page = 0; page < this.map.length; page++) {
      const frame = Atomics.exchange(this.map, page, this.map[page] < 0 ? -1 : 0);
      if (frame > 0) this.pool.free(frame);
    }
  }

  // ——— decoded code ———
  /** Executors (bits) that have decoded code of a frame. */
  codeHolders(frame: number): number {
    return Atomics.load(this.code, frame * this.codeWords) & CodeEntry.HOLDERS_MASK;
  }
  /** The same for who has just written there: the write is seen by all before the answer is read. */
  codeHoldersAfterWrite(frame: number): number {
    return Atomics.or(this.code, frame * this.codeWords, 0) & CodeEntry.HOLDERS_MASK;
  }
  /** An executor is about to decode from a frame. @returns vCPUs (bits) that may have the right to write there unseen: it must be taken from them
   *  before the code is read */
  holdCode(frame: number, executor: number): number {
    const at = frame * this.codeWords;
    Atomics.or(this.code, at, 1 << executor);
    return Atomics.exchange(this.code, at + 1, 0);
  }
  /** It has nothing of the frame any more, whatever it was told. */
  releaseCode(frame: number, executor: number): void {
    const at = frame * this.codeWords;
    this.setCodeLines(frame, executor, 0, 0);
    Atomics.and(this.code, at, ~((1 << executor) | (1 << (CodeEntry.TOLD_SHIFT + executor))));
  }
  /** An executor is about to read code from a frame, from what lines is not known yet. From now on others see a write to any of them as one to its code. */
  markAllLines(frame: number, executor: number): void {
    const at = frame * this.codeWords + 2 + 2 * executor;
    this.code[at] = -1;
    Atomics.store(this.code, at + 1, -1);
  }
  /** Which lines of 64 bytes an executor has code from, as bits 0–31 and 32–63. When others see that does not matter, as long as they see more: an atomic store would wait
   *  for all that was written before it, new code mostly. */
  setCodeLines(frame: number, executor: number, low: number, high: number): void {
    const at = frame * this.codeWords + 2 + 2 * executor;
    this.code[at] = low;
    this.code[at + 1] = high;
  }
  /** Has the executor code from one of these lines? */
  hasCodeIn(frame: number, executor: number, firstLine: number, lastLine: number): boolean {
    const at = frame * this.codeWords + 2 + 2 * executor;
    for (let line = firstLine; line <= lastLine; line++) {
      if ((Atomics.load(this.code, at + (line >> 5)) & (1 << (line & 31))) !== 0) return true;
    }
    return false;
  }
  /** A vCPU wants to write to a frame without looking at its code each time. Called by its own executor while generated code runs.
   *  @returns false if there is code: it must not */
  claimWrite(frame: number, vcpu: number): boolean {
    const at = frame * this.codeWords;
    if ((this.code[at + 1]! & (1 << vcpu)) === 0) Atomics.or(this.code, at + 1, 1 << vcpu);
    return (Atomics.load(this.code, at) & CodeEntry.HOLDERS_MASK) === 0;
  }
  /** A frame was written whose code these executors hold (bits): they are to forget it. Any thread.
   *  @returns those that had not been told yet */
  tellStale(frame: number, executors: number): number {
    const told =
      Atomics.or(this.code, frame * this.codeWords, executors << CodeEntry.TOLD_SHIFT) >> CodeEntry.TOLD_SHIFT;
    const fresh = executors & ~told;
    if (fresh === 0) return 0;
    const n = Atomics.add(this.#stale, 0, 1) >>> 0;
    const at = 1 + 2 * (n % STALE_RING);
    Atomics.store(this.#stale, at, frame);
    Atomics.store(this.#stale, at + 1, n + 1);
    return fresh;
  }
  #markWritten(frameAddress: number): void {
    const frame = frameAddress / FRAME_BYTES;
    const holders = this.codeHolders(frame);
    if (holders !== 0) this.tellStale(frame, holders);
  }

  /** Is there something for takeStaleCode()? */
  get hasStaleCode(): boolean {
    return Atomics.load(this.#stale, 0) !== this.#staleSeen;
  }
  /** Frames whose code was written since the last call on this thread, or "all" if they were too many to list. */
  takeStaleCode(): number[] | "all" {
    const first = this.#staleSeen;
    this.#staleSeen = Atomics.load(this.#stale, 0);
    const count = (this.#staleSeen - first) >>> 0;
    if (count > STALE_RING / 2) return "all";
    const frames = [];
    for (let i = 0; i < count; i++) {
      const n = (first + i) >>> 0;
      const at = 1 + 2 * (n % STALE_RING);
      let ahead: number;
      // Pushing is several steps: the other thread may be between them.
      do ahead = (Atomics.load(this.#stale, at + 1) - (n + 1)) | 0;
      while (ahead < 0);
      if (ahead > 0) return "all";
      frames.push(Atomics.load(this.#stale, at));
    }
    return frames;
  }

  /** Calls `visit` for each piece that lies in one page. @returns false outside RAM */
  #pieces(gpa: number, length: number, visit: (address: number, at: number, length: number) => void): boolean {
    if (length < 0 || !this.contains(gpa, length)) return false;
    for (let at = 0; at < length;) {
      const offset = (gpa + at) % FRAME_BYTES;
      const piece = Math.min(FRAME_BYTES - offset, length - at);
      visit(this.frameAddress(Math.floor((gpa + at) / FRAME_BYTES)) + offset, at, piece);
      at += piece;
    }
    return true;
  }

  read(gpa: number, into: Uint8Array): boolean {
    return this.#pieces(gpa, into.length, (address, at, length) => {
      into.set(this.pool.bytes.subarray(address, address + length), at);
    });
  }

  write(gpa: number, from: Uint8Array): boolean {
    return this.#pieces(gpa, from.length, (address, at, length) => {
      this.#markWritten(address - (address % FRAME_BYTES));
      this.pool.bytes.set(from.subarray(at, at + length), address);
    });
  }

  slices(gpa: number, length: number, forWrite: boolean): Uint8Array[] | undefined {
    const out: Uint8Array[] = [];
    let end = -1;
    const inside = this.#pieces(gpa, length, (address, _at, piece) => {
      if (forWrite) this.#markWritten(address - (address % FRAME_BYTES));
      const last = out.at(-1);
      if (last && end === address) out[out.length - 1] = this.pool.bytes.subarray(last.byteOffset, address + piece);
      else out.push(this.pool.bytes.subarray(address, address + piece));
      end = address + piece;
    });
    return inside ? out : undefined;
  }

  /** Byte offset in the pool of a naturally aligned scalar; −1 outside RAM or unaligned across pages. */
  #scalar(gpa: number, size: number): number {
    const offset = gpa % FRAME_BYTES;
    if (offset + size > FRAME_BYTES) return -1;
    const base = this.frameAddress(Math.floor(gpa / FRAME_BYTES));
    return base < 0 ? -1 : base + offset;
  }

  readU16(gpa: number): number | undefined {
    const at = this.#scalar(gpa, 2);
    return at < 0 ? undefined : this.pool.view.getUint16(at, true);
  }
  readU32(gpa: number): number | undefined {
    const at = this.#scalar(gpa, 4);
    return at < 0 ? undefined : this.pool.view.getUint32(at, true);
  }
  readU64(gpa: number): bigint | undefined {
    const at = this.#scalar(gpa, 8);
    return at < 0 ? undefined : this.pool.view.getBigUint64(at, true);
  }
  exchangeU8(gpa: number, value: number): number | undefined {
    const at = this.#scalar(gpa, 1);
    if (at < 0) return undefined;
    this.#markWritten(at - (at % FRAME_BYTES));
    return Atomics.exchange(this.pool.bytes, at, value);
  }
  writeU16(gpa: number, value: number): boolean {
    const at = this.#scalar(gpa, 2);
    if (at < 0) return false;
    this.#markWritten(at - (at % FRAME_BYTES));
    this.pool.view.setUint16(at, value, true);
    return true;
  }
  writeU32(gpa: number, value: number): boolean {
    const at = this.#scalar(gpa, 4);
    if (at < 0) return false;
    this.#markWritten(at - (at % FRAME_BYTES));
    this.pool.view.setUint32(at, value, true);
    return true;
  }
  writeU64(gpa: number, value: bigint): boolean {
    const at = this.#scalar(gpa, 8);
    if (at < 0) return false;
    this.#markWritten(at - (at % FRAME_BYTES));
    this.pool.view.setBigUint64(at, value, true);
    return true;
  }
}
