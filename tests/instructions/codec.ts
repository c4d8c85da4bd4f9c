/* Cases and outcomes as bytes, for pipes and files. Little-endian; patches: u32 address, u16 length, bytes.
 *
 *   case     u8 length, bytes, state (STATE_BYTES), patches
 *   outcome  u8 kind (0 died, 1 completed, 2 fault), [u8 vector, u32 error code, u64 address,] state, patches
 *   patches  u16 count, then each
 */
import { type Fault, type InstructionCase, type MemoryPatch, type Outcome, STATE_BYTES } from "./case.ts";

/** Bytes that grow. */
export class Writer {
  #bytes: Uint8Array = new Uint8Array(1 << 16);
  #view: DataView = new DataView(this.#bytes.buffer);
  #length = 0;

  #room(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
  u8(value: number): void {
    const at = this.#room(1); // first: it may change the view
    this.#view.setUint8(at, value);
  }
  u16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value, true);
  }
  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }
  u64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value, true);
  }
  put(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Reads what Writer wrote. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    // Not a Buffer: its slice would not copy.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }
  #step(size: number): number {
    const at = this.#at;
    this.#at += size;
    return at;
  }
  u8(): number {
    return this.#view.getUint8(this.#step(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#step(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#step(4), true);
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#step(8), true);
  }
  take(size: number): Uint8Array {
    const at = this.#step(size);
    return this.#bytes.slice(at, at + size);
  }
}

function writePatches(w: Writer, patches: readonly MemoryPatch[]): void {
  w.u16(patches.length);
  for (const p of patches) {
    w.u32(p.address);
    w.u16(p.bytes.length);
    w.put(p.bytes);
  }
}

function readPatches(r: Reader): MemoryPatch[] {
  const patches: MemoryPatch[] = [];
  for (let n = r.u16(); n > 0; n--) {
    const address = r.u32();
    patches.push({ address, bytes: r.take(r.u16()) });
  }
  return patches;
}

export function writeCase(w: Writer, c: InstructionCase): void {
  w.u8(c.bytes.length);
  w.put(c.bytes);
  w.put(c.before);
  writePatches(w, c.memory);
}

export function readCase(r: Reader): InstructionCase {
  const bytes = r.take(r.u8());
  const before = r.take(STATE_BYTES);
  return { bytes, before, memory: readPatches(r) };
}

const Kind = { DIED: 0, COMPLETED: 1, FAULT: 2 } as const;

export function writeOutcome(w: Writer, o: Outcome | undefined): void {
  if (!o) return w.u8(Kind.DIED);
  w.u8(o.fault ? Kind.FAULT : Kind.COMPLETED);
  if (o.fault) {
    w.u8(o.fault.vector);
    w.u32(o.fault.errorCode);
    w.u64(o.fault.address);
  }
  w.put(o.state);
  writePatches(w, o.memory);
}

export function readOutcome(r: Reader): Outcome | undefined {
  const kind = r.u8();
  if (kind === Kind.DIED) return undefined;
  let fault: Fault | undefined;
  if (kind === Kind.FAULT) {
    const vector = r.u8();
    const errorCode = r.u32();
    fault = { vector, errorCode, address: r.u64() };
  }
  const state = r.take(STATE_BYTES);
  return { state, fault, memory: readPatches(r) };
}
