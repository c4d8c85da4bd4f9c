/* A link to another process with VMs on the same network: messages over a stream, with bounded queues. @source docs/network.md "Networks by name". Leaves out: finding
 * the process and opening the stream (src/host/network-mesh.ts). I/O thread. */
import type { Duplex } from "node:stream";
import type { Cidr } from "./address.ts";
import {
  type Hello,
  LINK_HEADER_BYTES,
  LinkReader,
  type Member,
  encodeFrameHeader,
  encodeHello,
  encodeMembers,
} from "./link-codec.ts";
import type { Packet } from "./packet.ts";

/** What one peer may leave unread: as much as Linux' TCP has in flight in a guest, about. */
const MAX_QUEUED_BYTES = 4 << 20;
/** What all peers of a process may. */
const MAX_TOTAL_BYTES = 64 << 20;
/** A peer that is gone reads no more of what was left for it. */
const LINGER_MS = 1000;

/** Bytes that wait on all links of a process. */
export interface LinkBudget {
  queuedBytes: number;
}

/** What the owner of a link hears of it. */
export interface PeerLinkEvents {
  /** The first of all, once. */
  hello(hello: Hello): void;
  /** Instead of a hello: the peer speaks another version. The link is to be closed. */
  version(version: number): void;
  members(members: readonly Member[]): void;
  packet(packet: Packet): void;
  /** Once, whoever ended it; nothing follows. */
  ended(): void;
}

export class PeerLink {
  readonly #stream: Duplex;
  readonly #events: PeerLinkEvents;
  readonly #budget: LinkBudget;
  readonly #reader: LinkReader;
  #queued = 0;
  #isOpen = true;
  #corked = false;
  /** The newest list of this side's members, if it could not be sent. */
  #unsent: readonly Member[] | undefined;

  /** @param stream is the link's from now on  @param network whose addresses the peer's members may have */
  constructor(stream: Duplex, network: Cidr, budget: LinkBudget, events: PeerLinkEvents) {
    this.#stream = stream;
    this.#events = events;
    this.#budget = budget;
    this.#reader = new LinkReader(network);
    stream.on("data", (piece: Buffer) => this.#read(piece));
    stream.on("error", () => stream.destroy());
    stream.on("close", () => this.#end());
    // Its "close" may have been before.
    if (stream.destroyed) process.nextTick(() => this.#end());
  }

  sayHello(hello: Hello): void {
    this.#write([encodeHello(hello)]);
  }
  /** Says what this process's VMs are, now or as soon as there is room. */
  sayMembers(members: readonly Member[]): void {
    this.#unsent = members;
    this.#sendUnsent();
  }
  /** @returns false: it is lost, because the peer does not read or is gone. It is then still the caller's to release. */
  send(packet: Packet): boolean {
    if (!this.#isOpen || !this.#hasRoom(packet.bytes.length + LINK_HEADER_BYTES)) return false;
    this.#write([encodeFrameHeader(packet), packet.bytes], packet.release);
    return true;
  }
  /** Ends the link. What was sent still goes out, if the peer reads it soon. */
  close(): void {
    if (!this.#isOpen) return;
    this.#end();
    if (this.#corked) this.#stream.uncork();
    this.#corked = false;
    this.#stream.end();
    const timer = setTimeout(() => this.#stream.destroy(), LINGER_MS).unref();
    this.#stream.once("finish", () => this.#stream.destroy()).once("close", () => clearTimeout(timer));
  }

  #read(piece: Uint8Array): void {
    if (!this.#isOpen) return;
    const right = this.#reader.read(piece, (message) => {
      if (message.kind === "packet") this.#events.packet(message.packet);
      else if (message.kind === "members") this.#events.members(message.members);
      else if (message.kind === "hello") this.#events.hello(message.hello);
      else this.#events.version(message.version);
      return this.#isOpen;
    });
    if (!right) this.#stream.destroy();
  }
  #hasRoom(bytes: number): boolean {
    return this.#queued + bytes <= MAX_QUEUED_BYTES && this.#budget.queuedBytes + bytes <= MAX_TOTAL_BYTES;
  }
  #sendUnsent(): void {
    if (this.#unsent === undefined || !this.#isOpen) return;
    const message = encodeMembers(this.#unsent);
    // An empty queue takes any list: what waits elsewhere must not keep it back for ever.
    if (this.#queued > 0 && !this.#hasRoom(message.length)) return;
    this.#unsent = undefined;
    this.#write([message]);
  }
  #write(parts: readonly Uint8Array[], release?: () => void): void {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    this.#queued += bytes;
    this.#budget.queuedBytes += bytes;
    // All that one turn brings goes out by one system call.
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(() => {
        if (!this.#corked) return;
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    const last = parts.length - 1;
    for (const part of parts.slice(0, last)) this.#stream.write(part);
    this.#stream.write(parts[last], () => {
      this.#queued -= bytes;
      this.#budget.queuedBytes -= bytes;
      release?.();
      this.#sendUnsent();
    });
  }
  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#events.ended();
  }
}
