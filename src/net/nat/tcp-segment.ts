/* TCP segments: read from guests' packets, written into frames for them. @source RFC 9293 §3.1, RFC 7323 §2 (window scale).
 * Leaves out: timestamps (the link neither loses nor delays, and 12 bytes a segment are worth more), SACK, urgent data (delivered in line, as RFC 6093 asks). */
import { putIpv4 } from "../address.ts";
import { pseudoHeaderSum, sumWords } from "./checksum.ts";
import { IpProtocol, type Ipv4Packet, putU16, u16At } from "./ipv4.ts";

export const TCP_BYTES = 20;
/** MSS and window scale, as in each SYN. */
export const SYN_OPTION_BYTES = 8;
export const Flag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
const CHECKSUM_OFFSET = 16;
const Option = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3 } as const;
/** RFC 7323 §2.3. */
const MAX_SCALE = 14;

/** Where a frame's partial TCP checksum belongs, counted from the segment's start. */
export { CHECKSUM_OFFSET };

/** The segment at hand. One object is read into again and again. Sequence numbers are 32-bit integers with a sign: only differences mean something. */
export class TcpSegment {
  sourcePort = 0;
  destinationPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  /** Not scaled. */
  window = 0;
  /** Of a SYN; undefined: not said. */
  mss: number | undefined;
  scale: number | undefined;
  payload: Uint8Array = new Uint8Array(0);

  /** @returns false if this is no correct segment */
  read(packet: Ipv4Packet): boolean {
    const { bytes, start, end } = packet;
    const length = end - start;
    if (length < TCP_BYTES) return false;
    const headerBytes = (bytes[start + 12]! >>> 4) * 4;
    if (headerBytes < TCP_BYTES || headerBytes > length) return false;
    if (!packet.isPartial) {
      const pseudo = pseudoHeaderSum(packet.source, packet.destination, IpProtocol.TCP, length);
      if (sumWords(bytes, start, end, pseudo) !== 0xffff) return false;
    }
    this.sourcePort = u16At(bytes, start);
    this.destinationPort = u16At(bytes, start + 2);
    this.seq = i32At(bytes, start + 4);
    this.ack = i32At(bytes, start + 8);
    this.flags = bytes[start + 13]!;
    this.window = u16At(bytes, start + 14);
    this.payload = bytes.subarray(start + headerBytes, end);
    if (this.has(Flag.SYN)) this.#readOptions(bytes, start + TCP_BYTES, start + headerBytes);
    return this.sourcePort !== 0 && this.destinationPort !== 0;
  }
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
  /** What it takes of the sequence space. */
  get lengthInSequence(): number {
    return this.payload.length + (this.flags & Flag.FIN) + ((this.flags & Flag.SYN) >>> 1);
  }

  #readOptions(bytes: Uint8Array, start: number, end: number): void {
    this.mss = undefined;
    this.scale = undefined;
    for (let at = start; at < end;) {
      const kind = bytes[at]!;
      if (kind === Option.END) return;
      if (kind === Option.NOP) {
        at++;
        continue;
      }
      const length = at + 1 < end ? bytes[at + 1]! : 0;
      if (length < 2 || at + length > end) return;
      if (kind === Option.MSS && length === 4) this.mss = u16At(bytes, at + 2);
      if (kind === Option.WINDOW_SCALE && length === 3) this.scale = Math.min(bytes[at + 2]!, MAX_SCALE);
      at += length;
    }
  }
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As it stands in the header. */
  readonly window: number;
  /** Of a SYN: scale undefined leaves the option out. */
  readonly options?: { readonly mss: number; readonly scale: number | undefined } | undefined;
}

/** Writes a segment's header at `at`. @param sum the pseudo header's: the checksum is left to do  @returns where the payload goes */
export function putTcp(frame: Uint8Array, at: number, fields: TcpFields, sum: number): number {
  const optionBytes = fields.options === undefined ? 0 : SYN_OPTION_BYTES;
  putU16(frame, at, fields.sourcePort);
  putU16(frame, at + 2, fields.destinationPort);
  putIpv4(frame, at + 4, fields.seq);
  putIpv4(frame, at + 8, fields.ack);
  frame[at + 12] = ((TCP_BYTES + optionBytes) / 4) << 4;
  frame[at + 13] = fields.flags;
  putU16(frame, at + 14, fields.window);
  putU16(frame, at + CHECKSUM_OFFSET, sum);
  putU16(frame, at + 18, 0);
  if (fields.options !== undefined) {
    const { mss, scale } = fields.options;
    const scaling = scale === undefined ? [Option.NOP, Option.NOP, Option.NOP] : [Option.WINDOW_SCALE, 3, scale];
    frame.set([Option.MSS, 4, mss >>> 8, mss & 255, Option.NOP, ...scaling], at + TCP_BYTES);
  }
  return at + TCP_BYTES + optionBytes;
}

function i32At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
}
