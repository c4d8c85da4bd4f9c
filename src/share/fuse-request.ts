/* FuseRequest: one request's header, arguments and names, copied out of guest memory once, so that what was checked stays what it was.
 *
 *   fuse_in_header   +0 u32 len   +4 u32 opcode   +8 u64 unique   +16 u64 nodeid   +24 u32 uid   +28 u32 gid   +32 u32 pid   +36 u16 total_extlen
 */
import { gather, range } from "../device/virtio/buffers.ts";
import { Errno, Refusal } from "./errno.ts";
import { IN_HEADER_BYTES } from "./fuse-protocol.ts";

/** Arguments and names of any request fit (SYMLINK: a name and a target of at most a page each); what is longer is data, which stays where it is. */
const COPIED_BYTES = 16384;
const MAX_NAME_BYTES = 255;
const MAX_TARGET_BYTES = 4095;
const TWO_32 = 0x1_0000_0000;

export class FuseRequest {
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #parts: readonly Uint8Array[];
  /** Where the next name begins. */
  #at = IN_HEADER_BYTES;

  /** @param parts the request in guest memory */
  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
    this.length = parts.reduce((sum, part) => sum + part.length, 0);
    const copy = gather(parts, Math.min(this.length, COPIED_BYTES));
    this.#bytes = Buffer.from(copy.buffer, copy.byteOffset, copy.byteLength);
  }

  /** Is there a header, and does it tell the true length? */
  get isWhole(): boolean {
    return this.#bytes.length >= IN_HEADER_BYTES && this.#bytes.readUInt32LE(0) === this.length;
  }
  get opcode(): number {
    return this.#bytes.readUInt32LE(4);
  }
  get unique(): bigint {
    return this.#bytes.readBigUInt64LE(8);
  }
  get nodeId(): number {
    return this.#number64(16);
  }
  /** Says that there are `bytes` of arguments before the names or data. @throws Refusal EINVAL if there are not */
  arguments(bytes: number): this {
    this.#at = IN_HEADER_BYTES + bytes;
    if (this.#at > this.#bytes.length) throw new Refusal(Errno.EINVAL);
    return this;
  }
  /** Arguments, by their offsets in their structure. */
  u32(offset: number): number {
    return this.#bytes.readUInt32LE(IN_HEADER_BYTES + offset);
  }
  u64(offset: number): bigint {
    return this.#bytes.readBigUInt64LE(IN_HEADER_BYTES + offset);
  }
  /** A u64 as a number: exact up to 2⁵³, which no node, handle or offset of ours exceeds; more stays more. */
  number(offset: number): number {
    return this.#number64(IN_HEADER_BYTES + offset);
  }
  #number64(at: number): number {
    return this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * TWO_32;
  }
  /** How many whole structures of `bytes` follow the arguments, of those that were copied. */
  countOf(bytes: number): number {
    return Math.floor((this.#bytes.length - this.#at) / bytes);
  }

  /** The next name: one component, each byte a character. @throws Refusal */
  name(): string {
    const name = this.#string(MAX_NAME_BYTES);
    if (name === "" || name === "." || name === ".." || name.includes("/")) throw new Refusal(Errno.EINVAL);
    return name;
  }
  /** A symbolic link's target, as its bytes. @throws Refusal */
  target(): Buffer {
    return Buffer.from(this.#string(MAX_TARGET_BYTES), "latin1");
  }
  #string(longest: number): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new Refusal(Errno.EINVAL);
    if (end - this.#at > longest) throw new Refusal(Errno.ENAMETOOLONG);
    const text = this.#bytes.toString("latin1", this.#at, end);
    this.#at = end + 1;
    return text;
  }
  /** `length` bytes of data after the arguments, where the guest has them. @throws Refusal EINVAL if there are not so many */
  data(length: number): Uint8Array[] {
    if (length > this.length - this.#at) throw new Refusal(Errno.EINVAL);
    return range(this.#parts, this.#at, this.#at + length);
  }
}
