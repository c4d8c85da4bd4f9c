/* Carries the segments of all TCP connections of a gateway: builds their frames, flushes what frames or sockets made due once per batch, and holds the
 * delayed acknowledgements. I/O thread. */
import type { Ipv4 } from "../address.ts";
import type { FlowKey } from "./flow-table.ts";
import { pseudoHeaderSum } from "./checksum.ts";
import type { Guest } from "./guests.ts";
import { ETHERNET_BYTES, IpProtocol, PAYLOAD_START } from "./ipv4.ts";
import type { Link } from "./link.ts";
import type { OutgoingSegment, TcpConnection, TcpWire } from "./tcp-connection.ts";
import {
  CHECKSUM_OFFSET,
  Flag,
  SYN_OPTION_BYTES,
  TCP_BYTES,
  type TcpFields,
  type TcpSegment,
  putTcp,
} from "./tcp-segment.ts";

/** RFC 9293 lets an acknowledgement wait for 500 ms, Linux for 40: answers of servers near the host come sooner, and Nagle in the guest waits for it. */
const DELAYED_ACK_MS = 5;
const CHECKSUM = { start: PAYLOAD_START, offset: CHECKSUM_OFFSET } as const;

/** What connections of one gateway share. */
export class TcpBatch {
  #due: TcpConnection[] = [];
  #delayed: TcpConnection[] = [];
  #isScheduled = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #flushDue = (): void => {
    this.#isScheduled = false;
    const due = this.#due;
    this.#due = [];
    for (const connection of due) {
      connection.isDue = false;
      connection.flush();
    }
  };

  later(connection: TcpConnection): void {
    if (connection.isDue) return;
    connection.isDue = true;
    this.#due.push(connection);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // After all frames and all reads that this turn of the event loop brings: then they go out together.
    setImmediate(this.#flushDue);
  }
  delay(connection: TcpConnection): void {
    if (connection.isDelayed) return;
    connection.isDelayed = true;
    this.#delayed.push(connection);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const delayed = this.#delayed;
      this.#delayed = [];
      for (const each of delayed) {
        each.isDelayed = false;
        each.flush(true);
      }
    }, DELAYED_ACK_MS);
  }
  close(): void {
    clearTimeout(this.#timer);
    this.#delayed = [];
  }
}

/** The way of one connection's segments. */
export class GuestWire implements TcpWire {
  readonly mss: number;
  readonly #link: Link;
  readonly #batch: TcpBatch;
  readonly #guest: Guest;
  readonly #key: FlowKey;
  #resume: (() => void) | undefined;

  constructor(link: Link, batch: TcpBatch, guest: Guest, key: FlowKey) {
    this.#link = link;
    this.#batch = batch;
    this.#guest = guest;
    this.#key = key;
    this.mss = link.mtuBytes - (PAYLOAD_START - ETHERNET_BYTES) - TCP_BYTES;
  }

  transmit(connection: TcpConnection, segment: OutgoingSegment): boolean {
    if (this.#guest.mac === undefined) {
      this.#link.sendArp(1, this.#key.remote, { mac: undefined, ipv4: this.#guest.ipv4 });
      return true;
    }
    const { length, flags } = segment;
    const isSyn = (flags & Flag.SYN) !== 0;
    const options = isSyn ? { mss: this.mss, scale: segment.scale } : undefined;
    const frame = tcpFrame(this.#link, this.#guest, this.#key, { ...segment, options }, length);
    if (length > 0) connection.copy(segment.seq, length, frame, frame.length - length);
    const mss = connection.sender.mss;
    if (length > mss)
      return this.#link.send({ bytes: frame, checksum: CHECKSUM, segment: { protocol: "tcp4", sizeBytes: mss } });
    const packet = { bytes: frame, checksum: CHECKSUM };
    // Nobody sends a reset again.
    if ((flags & Flag.RST) === 0) return this.#link.send(packet);
    this.#link.post(packet);
    return true;
  }
  now(): number {
    return performance.now();
  }
  later(connection: TcpConnection): void {
    this.#batch.later(connection);
  }
  delay(connection: TcpConnection): void {
    this.#batch.delay(connection);
  }
  whenRoom(connection: TcpConnection): void {
    this.#resume ??= () => connection.onRoom();
    this.#link.whenRoom(this.#resume);
  }
  /** The connection is over. */
  close(): void {
    if (this.#resume !== undefined) this.#link.forget(this.#resume);
  }
  setTimer(callback: () => void, delayMs: number): NodeJS.Timeout {
    return setTimeout(callback, delayMs);
  }
  clearTimer(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
  }
}

/** Answers a segment that belongs to no connection. @source RFC 9293 §3.10.7.1 */
export function sendReset(link: Link, guest: Guest, remote: Ipv4, segment: TcpSegment): void {
  if (segment.has(Flag.RST)) return;
  const key = { guest: guest.ipv4, guestPort: segment.sourcePort, remote, remotePort: segment.destinationPort };
  const fields = segment.has(Flag.ACK)
    ? { seq: segment.ack, ack: 0, flags: Flag.RST }
    : { seq: 0, ack: (segment.seq + segment.lengthInSequence) | 0, flags: Flag.RST | Flag.ACK };
  link.post({ bytes: tcpFrame(link, guest, key, { ...fields, window: 0 }, 0), checksum: CHECKSUM });
}

function tcpFrame(
  link: Link,
  guest: Guest,
  { remote, remotePort, guestPort }: FlowKey,
  fields: Omit<TcpFields, "sourcePort" | "destinationPort">,
  length: number,
): Uint8Array {
  const tcpBytes = TCP_BYTES + (fields.options === undefined ? 0 : SYN_OPTION_BYTES) + length;
  const frame = link.frame(guest, remote, IpProtocol.TCP, tcpBytes);
  const sum = pseudoHeaderSum(remote, guest.ipv4, IpProtocol.TCP, tcpBytes);
  putTcp(frame, PAYLOAD_START, { ...fields, sourcePort: remotePort, destinationPort: guestPort }, sum);
  return frame;
}
