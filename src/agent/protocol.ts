/* The protocol between agent and host, as src/agent/guest/protocol.h has it (protocol.test.ts compares them). Little-endian.
 *
 *   frame    u32 length of the payload · u8 type · payload
 *   text     u32 length · bytes without NUL · NUL */

export const PROTOCOL_VERSION = 1;
export const PORT_AGENT = 1023;
export const PORT_READY = 1022;
export const FRAME_HEADER_BYTES = 5;
export const FRAME_LIMIT_BYTES = 1 << 20;
export const DATA_LIMIT_BYTES = 64 << 10;
export const STREAM_WINDOW_BYTES = 256 << 10;

/** Requests: the first frame of a connection. */
export const Op = {
  EXEC: 1,
  READ: 2,
  WRITE: 3,
  LIST: 4,
  STAT: 5,
  MAKE_DIRECTORY: 6,
  REMOVE: 7,
  RENAME: 8,
  READ_LINK: 9,
  SYMLINK: 10,
  CHANGE_MODE: 11,
  CHANGE_OWNER: 12,
  WATCH: 13,
  COPY_OUT: 14,
  COPY_IN: 15,
  CLOCK: 16,
  SYNC: 17,
  POWER: 18,
  INFO: 19,
  FREEZE: 20,
} as const;

/** Host to agent, during an operation. */
export const In = {
  STDIN: 0x40,
  SIGNAL: 0x41,
  RESIZE: 0x42,
  CREDIT: 0x43,
  DATA: 0x44,
  ENTRY: 0x45,
  END: 0x46,
} as const;

/** Agent to host. */
export const Out = {
  ERROR: 0x80,
  DONE: 0x81,
  STARTED: 0x82,
  STDOUT: 0x83,
  STDERR: 0x84,
  EXIT: 0x85,
  STDIN_TAKEN: 0x86,
  DATA: 0x87,
  ENTRY: 0x88,
  EVENT: 0x89,
  READY: 0x90,
} as const;

/** Codes of Out.ERROR. */
export const Refusal = {
  SYSTEM: 1,
  BAD_REQUEST: 2,
  VERSION: 3,
  LIMIT: 4,
  COMMAND_NOT_FOUND: 5,
  COMMAND_NOT_EXECUTABLE: 6,
  NO_SUCH_USER: 7,
  NO_SUCH_GROUP: 8,
  NO_SUCH_DIRECTORY: 9,
} as const;

/** Flags of Op.WRITE. */
export const Write = { APPEND: 1, NEW: 2 } as const;
/** Kinds of Out.EVENT. */
export const Event = { CREATED: 1, CHANGED: 2, REMOVED: 3, OVERFLOW: 4 } as const;

/** Makes one frame. */
export class FrameWriter {
  #bytes = Buffer.alloc(256);
  #length = FRAME_HEADER_BYTES;

  constructor(type: number) {
    this.#bytes[4] = type;
  }
  #room(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, this.#length + count));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
  u8(value: number): this {
    this.#room(1);
    this.#length = this.#bytes.writeUInt8(value, this.#length);
    return this;
  }
  u16(value: number): this {
    this.#room(2);
    this.#length = this.#bytes.writeUInt16LE(value, this.#length);
    return this;
  }
  u32(value: number): this {
    this.#room(4);
    this.#length = this.#bytes.writeUInt32LE(value, this.#length);
    return this;
  }
  u64(value: bigint): this {
    this.#room(8);
    this.#length = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.#length);
    return this;
  }
  /** @throws RangeError when the text has a NUL, which no path, word or name can have in the guest */
  text(value: string): this {
    if (value.includes("\0")) throw new RangeError("Words and paths for a guest cannot contain NUL bytes.");
    const count = Buffer.byteLength(value);
    this.u32(count);
    this.#room(count + 1);
    this.#bytes.write(value, this.#length);
    this.#bytes[this.#length + count] = 0;
    this.#length += count + 1;
    return this;
  }
  bytes(value: Uint8Array): this {
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }
  /** The frame with its header. @throws RangeError when it is larger than a frame can be */
  finish(): Buffer {
    const length = this.#length - FRAME_HEADER_BYTES;
    if (length > FRAME_LIMIT_BYTES)
      throw new RangeError(
        `A request to a guest can have ${FRAME_LIMIT_BYTES} bytes at most, and this one has ${length}.`,
      );
    this.#bytes.writeUInt32LE(length, 0);
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Reads the fields of a frame that a guest sent. @throws RangeError (its own "frame ends too early") when they are not there: the connection is then broken */
export class FrameReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(payload: Buffer) {
    this.#bytes = payload;
  }
  #take(count: number): number {
    const at = this.#at;
    if (this.#bytes.length - at < count) throw new RangeError("the frame ends too early");
    this.#at += count;
    return at;
  }
  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }
  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }
  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }
  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#take(8));
  }
  i64(): bigint {
    return this.#bytes.readBigInt64LE(this.#take(8));
  }
  text(): string {
    const count = this.u32();
    const at = this.#take(count + 1);
    return this.#bytes.toString("utf8", at, at + count);
  }
  get rest(): number {
    return this.#bytes.length - this.#at;
  }
}
