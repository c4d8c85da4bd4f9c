/* GuestRam: one VM's guest-physical pages over a FramePool. Page map and code table are in a shared memory, so that executors, the I/O thread and generated code
 * see the same. It is a WebAssembly.Memory of their own: the state memory is smaller than they are for a large VM, and holds nothing of a VM that
 * other VMs of the cell do not have.
 *
 *   tables memory: 0 i64 pages in the map · 8 i32 offset of the code table · TABLES_MAP page map · code table
 *   page map (i32, one a guest page): −1 not RAM · 0 nothing yet · n frame n
 *   code table, per frame (i32 × 4): 0 flags (bit 0: decoded code was read from here) · 1 unused · 2, 3: which of the 64 lines of 64 bytes hold code
 *   stale ring (i32): 0 number of frames ever pushed; then RING entries
 *
 * A device that writes to a frame with code pushes it on the stale ring; the engine drops the decoded blocks before it delivers the device's interrupt. */
import { FRAME_BYTES, FramePool, type SharedFrames } from "./frames.ts";
import type { GuestMemory } from "./guest-memory.ts";

const GIB = 1024 ** 3;
/** RAM below this, the rest from 4 GiB up: room for device windows. */
export const LOW_RAM_LIMIT = 3 * GIB;
const HIGH_RAM_START = 4 * GIB;
const STALE_RING = 1024;
const CODE_WORDS = 4;
/** Offsets in the tables memory. */
export const Tables = { MAP_PAGES: 0, CODE: 8, MAP: 16 } as const;
/** Bytes of the code table a frame. */
export const CODE_ENTRY_BYTES = 4 * CODE_WORDS;

export interface SharedGuestRam {
  frames: SharedFrames;
  tables: WebAssembly.Memory;
  stale: SharedArrayBuffer;
  sizeBytes: number;
}

export class GuestRam implements GuestMemory {
  readonly pool: FramePool;
  readonly shared: SharedGuestRam;
  readonly sizeBytes: number;
  readonly map: Int32Array;
  /** CODE_WORDS words a frame; see the head. */
  readonly code: Int32Array;
  #stale: Int32Array;
  #staleSeen = 0;
  #ranges: readonly { start: number; end: number }[];

  private constructor(shared: SharedGuestRam, pool: FramePool) {
    this.shared = shared;
    this.pool = pool;
    this.sizeBytes = shared.sizeBytes;
    const { buffer } = shared.tables;
    const [mapPages, , code] = new Uint32Array(buffer, 0, Tables.MAP / 4);
    this.map = new Int32Array(buffer, Tables.MAP, mapPages);
    this.code = new Int32Array(buffer, code, pool.shared.frames * CODE_WORDS);
    this.#stale = new Int32Array(shared.stale);
    const low = Math.min(shared.sizeBytes, LOW_RAM_LIMIT);
    this.#ranges = [{ start: 0, end: low }];
    if (shared.sizeBytes > low) {
      this.#ranges = [...this.#ranges, { start: HIGH_RAM_START, end: HIGH_RAM_START + shared.sizeBytes - low }];
    }
  }

  /** @param sizeBytes a multiple of 4096 */
  static create(pool: FramePool, sizeBytes: number): GuestRam {
    const low = Math.min(sizeBytes, LOW_RAM_LIMIT);
    const end = sizeBytes > low ? HIGH_RAM_START + sizeBytes - low : low;
    const mapPages = end / FRAME_BYTES;
    const code = Tables.MAP + Math.ceil((mapPages * 4) / CODE_ENTRY_BYTES) * CODE_ENTRY_BYTES;
    const pages = Math.ceil((code + pool.shared.frames * CODE_ENTRY_BYTES) / 65536);
    const tables = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    new Uint32Array(tables.buffer).set([mapPages, 0, code]);
    const stale = new SharedArrayBuffer((1 + STALE_RING) * 4);
    const ram = new GuestRam({ frames: pool.shared, tables, stale, sizeBytes }, pool);
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

  /** Gives every frame back. The VM must not run any more. */
  release(): void {
    for (let page = 0; page < this.map.length; page++) {
      const frame = Atomics.exchange(this.map, page, this.map[page] < 0 ? -1 : 0);
      if (frame > 0) this.pool.free(frame);
    }
  }

  #markWritten(frameAddress: number): void {
    const frame = frameAddress / FRAME_BYTES;
    if ((Atomics.load(this.code, frame * CODE_WORDS) & 1) === 0) return;
    const n = Atomics.add(this.#stale, 0, 1);
    Atomics.store(this.#stale, 1 + (n % STALE_RING), frame);
  }

  /** Frames with code that devices wrote since the last call, or "all" if they were too many to list. */
  takeStaleCode(): number[] | "all" | undefined {
    const pushed = Atomics.load(this.#stale, 0);
    if (pushed === this.#staleSeen) return undefined;
    const first = this.#staleSeen;
    this.#staleSeen = pushed;
    if (pushed - first > STALE_RING / 2) return "all";
    return Array.from({ length: pushed - first }, (_, i) => Atomics.load(this.#stale, 1 + ((first + i) % STALE_RING)));
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
