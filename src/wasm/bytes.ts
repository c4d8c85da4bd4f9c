/* A growing byte buffer with the encodings that WebAssembly modules use. @source WebAssembly Core Specification §5.2 */

const F64 = new DataView(new ArrayBuffer(8));

export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
  }

  #reserve(n: number): void {
    if (this.length + n <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + n));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  u8(v: number): void {
    this.#reserve(1);
    this.bytes[this.length++] = v;
  }

  raw(from: Uint8Array): void {
    this.#reserve(from.length);
    this.bytes.set(from, this.length);
    this.length += from.length;
  }

  /** Unsigned LEB128 of 0 ≤ v < 2^53. */
  u(v: number): void {
    while (v >= 0x80) {
      this.u8((v % 0x80) | 0x80);
      v = Math.floor(v / 0x80);
    }
    this.u8(v);
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(v: number): void {
    v |= 0;
    for (;;) {
      const byte = v & 0x7f;
      v >>= 7;
      if ((v === 0 && (byte & 0x40) === 0) || (v === -1 && (byte & 0x40) !== 0)) return this.u8(byte);
      this.u8(byte | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit value. */
  s64(value: bigint): void {
    if (value >= -0x80000000n && value <= 0x7fffffffn) return this.s32(Number(value));
    let v = BigInt.asIntN(64, value);
    for (;;) {
      const byte = Number(v & 0x7fn);
      v >>= 7n;
      if ((v === 0n && (byte & 0x40) === 0) || (v === -1n && (byte & 0x40) !== 0)) return this.u8(byte);
      this.u8(byte | 0x80);
    }
  }

  f64(v: number): void {
    F64.setFloat64(0, v, true);
    for (let i = 0; i < 8; i++) this.u8(F64.getUint8(i));
  }

  u64(v: bigint): void {
    F64.setBigUint64(0, BigInt.asUintN(64, v), true);
    for (let i = 0; i < 8; i++) this.u8(F64.getUint8(i));
  }

  name(text: string): void {
    const utf8 = new TextEncoder().encode(text);
    this.u(utf8.length);
    this.raw(utf8);
  }

  /** A section or body: its length, then its bytes. */
  sized(body: ByteWriter): void {
    this.u(body.length);
    this.raw(body.view());
  }

  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
