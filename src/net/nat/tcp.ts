/* TCP of a gateway: finds each segment's connection, connects guests' to the host's sockets if the policy allows it, and the host's to guests' ports.
 * @source RFC 9293 §3.10.7.1. Bounded in connections, in those not connected yet, and in bytes. I/O thread. */
import { type NetConnectOpts, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Ipv4, formatIpv4, parseIpv4 } from "../address.ts";
import type { Policy } from "../policy.ts";
import { type FlowKey, FlowTable } from "./flow-table.ts";
import type { Guest } from "./guests.ts";
import { Icmp, type IcmpError, SHORT_QUOTE_BYTES, quoteOf, sendError, sendQuoted } from "./icmp.ts";
import type { Ipv4Packet } from "./ipv4.ts";
import type { Link } from "./link.ts";
import { MemoryBudget } from "./memory-budget.ts";
import { Splice } from "./splice.ts";
import { TcpConnection } from "./tcp-connection.ts";
import { Flag, TcpSegment } from "./tcp-segment.ts";
import { GuestWire, TcpBatch, sendReset } from "./tcp-wire.ts";

/** Each has a socket: far below the files that a process may have open (Node raises that to the hard limit, mostly 500,000 or more, at least 4096). */
const MAX_TCP_CONNECTIONS = 3072;
/** Of them, waiting for the host's network. */
const MAX_HELD = 1024;
const MAX_TIME_WAIT = 1024;
const BUDGET_BYTES = 128 << 20;
/** A forwarded connection waits so long for a guest that boots. */
const FORWARD_PATIENCE_MS = 60_000;
/** Of all connections. */
const FORWARD_SHARE = 0.75;
const SWEEP_MS = 60_000;
/** Ephemeral ports of the gateway towards guests. */
const FIRST_PORT = 16_384;
const SOCKET_KEEP_ALIVE_MS = 600_000;

/** Where a guest's connection goes. */
export type TcpTarget =
  | { readonly kind: "host"; readonly address: Ipv4; readonly port: number }
  | { readonly kind: "service"; readonly open: () => Duplex };

interface Entry {
  readonly key: FlowKey;
  readonly guest: Guest;
  readonly wire: GuestWire;
  readonly stream: Duplex;
  connection: TcpConnection;
}

export interface TcpLimits {
  readonly connections?: number;
  /** How long a forwarded connection waits for the guest. */
  readonly forwardPatienceMs?: number;
}

export interface TcpOptions {
  readonly link: Link;
  /** The address that forwarded connections come from. */
  readonly gateway: Ipv4;
  readonly policy: Policy;
  /** What a guest's destination means; undefined: a port of the gateway's where nothing is. */
  readonly target: (address: Ipv4, port: number) => TcpTarget | undefined;
  readonly limits?: TcpLimits | undefined;
}

export class Tcp {
  readonly #link: Link;
  readonly #gateway: Ipv4;
  readonly #policy: Policy;
  readonly #target: TcpOptions["target"];
  readonly #limits: Required<TcpLimits>;
  readonly #batch = new TcpBatch();
  readonly #budget = new MemoryBudget(BUDGET_BYTES);
  readonly #entries = new FlowTable<Entry>();
  /** Waiting for the host's side; the oldest first. */
  readonly #held = new Set<Entry>();
  readonly #timeWait = new Set<Entry>();
  /** Sockets, also those that have bytes to write when their guest has long ended. */
  readonly #streams = new Set<Duplex>();
  readonly #segment = new TcpSegment();
  readonly #sweep: NodeJS.Timeout;
  #nextPort = FIRST_PORT;
  #isClosed = false;

  constructor({ link, gateway, policy, target, limits = {} }: TcpOptions) {
    this.#link = link;
    this.#gateway = gateway;
    this.#policy = policy;
    this.#target = target;
    this.#limits = { connections: MAX_TCP_CONNECTIONS, forwardPatienceMs: FORWARD_PATIENCE_MS, ...limits };
    this.#sweep = setInterval(() => {
      for (const { connection } of this.#entries.values()) connection.keepAlive();
    }, SWEEP_MS);
    this.#sweep.unref();
  }

  /** Connections, of which each has a socket; those in TIME-WAIT have none. */
  get connections(): number {
    return this.#streams.size;
  }
  /** Bytes that lie in queues. */
  get queuedBytes(): number {
    return this.#budget.usedBytes;
  }

  /** Takes a guest's segment. */
  receive(guest: Guest, packet: Ipv4Packet): void {
    const segment = this.#segment;
    if (!segment.read(packet)) return;
    const remote = packet.destination;
    const entry = this.#entries.get(guest.ipv4, segment.sourcePort, remote, segment.destinationPort);
    const isSyn = segment.has(Flag.SYN) && !segment.has(Flag.ACK) && !segment.has(Flag.RST);
    if (entry !== undefined && !(isSyn && entry.connection.isReplaceableBy(segment))) {
      entry.connection.receive(segment);
      return;
    }
    if (entry !== undefined) this.#discard(entry);
    if (!isSyn) sendReset(this.#link, guest, remote, segment);
    else this.#receiveSyn(guest, packet, segment, this.#target(remote, segment.destinationPort));
  }

  /** Connects a socket of the host's to a port of a guest's; appears there as coming from the gateway. @returns false: too many connections */
  forward(socket: Socket, guest: Guest, guestPort: number): boolean {
    const remotePort = this.#freePort(guest, guestPort);
    // Whoever floods a forwarded port leaves the guest some connections of its own.
    const isFull = this.connections >= this.#limits.connections * FORWARD_SHARE;
    if (this.#isClosed || isFull || remotePort === undefined) return false;
    const key = { guest: guest.ipv4, guestPort, remote: this.#gateway, remotePort };
    this.#begin(guest, key, socket, (wire, splice) =>
      TcpConnection.connect(wire, splice, this.#limits.forwardPatienceMs),
    );
    return true;
  }
  /** Resets all connections of a guest that is gone. */
  forget(guest: Guest): void {
    for (const entry of this.#entries.values()) if (entry.guest === guest) this.#end(entry);
  }
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    for (const entry of this.#entries.values()) this.#end(entry);
    for (const stream of this.#streams) stream.destroy();
    this.#batch.close();
  }

  #receiveSyn(guest: Guest, packet: Ipv4Packet, segment: TcpSegment, target: TcpTarget | undefined): void {
    if (target === undefined || this.connections >= this.#limits.connections) {
      sendReset(this.#link, guest, packet.destination, segment);
      return;
    }
    if (target.kind === "host" && !this.#policy.permits(target.address, target.port, "tcp")) {
      sendError(this.#link, guest, this.#gateway, Icmp.PROHIBITED, packet);
      return;
    }
    // The guest sends its SYN again.
    if (this.#held.size >= MAX_HELD) return;
    const key = {
      guest: guest.ipv4,
      guestPort: segment.sourcePort,
      remote: packet.destination,
      remotePort: segment.destinationPort,
    };
    const stream = target.kind === "host" ? new Socket({ allowHalfOpen: true }) : target.open();
    const entry = this.#begin(guest, key, stream, (wire, splice) => TcpConnection.held(wire, splice, segment));
    if (target.kind === "service") entry.connection.accept();
    else this.#connect(entry, stream as Socket, target, quoteOf(packet, SHORT_QUOTE_BYTES));
  }

  #begin(guest: Guest, key: FlowKey, stream: Duplex, open: (wire: GuestWire, splice: Splice) => TcpConnection): Entry {
    const wire = new GuestWire(this.#link, this.#batch, guest, key);
    // The connection may be over before open() returns only if its first segment ends it, which neither way does.
    const splice = new Splice(stream, this.#budget, {
      onOver: () => this.#settle(entry),
      onFree: () => this.#free(entry),
    });
    const entry: Entry = { key, guest, wire, stream, connection: open(wire, splice) };
    splice.connection = entry.connection;
    this.#entries.add(key, entry);
    this.#streams.add(stream);
    stream.once("close", () => this.#streams.delete(stream));
    return entry;
  }

  #connect(entry: Entry, socket: Socket, target: { address: Ipv4; port: number }, quote: Uint8Array): void {
    this.#held.add(entry);
    const options: NetConnectOpts = { host: formatIpv4(target.address), port: target.port, family: 4 };
    socket.once("connect", () => {
      this.#held.delete(entry);
      socket.setNoDelay(true);
      socket.setKeepAlive(true, SOCKET_KEEP_ALIVE_MS);
      // An address that no interface shows may be the host's all the same: then both ends are the same one.
      const isLocal = parseIpv4(socket.localAddress ?? "") === target.address;
      if (!isLocal || this.#policy.permits(target.address, target.port, "tcp", true)) entry.connection.accept();
      else this.#refuse(entry, Icmp.PROHIBITED, quote);
    });
    socket.prependOnceListener("error", (error: NodeJS.ErrnoException) => {
      if (!this.#held.delete(entry)) return;
      this.#refuse(entry, CONNECT_ERRORS[error.code ?? ""], quote);
    });
    socket.connect(options);
  }
  /** @param error undefined: a reset, as from a port where nothing listens */
  #refuse(entry: Entry, error: IcmpError | undefined, quote: Uint8Array): void {
    if (entry.connection.state !== "HELD") return;
    if (error === undefined) {
      entry.connection.abort();
      return;
    }
    sendQuoted(this.#link, entry.guest, this.#gateway, error, quote);
    entry.connection.drop();
  }

  #settle(entry: Entry): void {
    this.#held.delete(entry);
    if (entry.connection.state !== "TIME-WAIT") return;
    this.#timeWait.add(entry);
    if (this.#timeWait.size > MAX_TIME_WAIT) this.#discard(this.#timeWait.values().next().value!);
  }
  #discard(entry: Entry): void {
    entry.connection.drop();
    this.#free(entry);
    entry.stream.destroy();
  }
  #end(entry: Entry): void {
    entry.connection.abort();
    this.#discard(entry);
  }
  #free(entry: Entry): void {
    this.#entries.remove(entry.key, entry);
    this.#held.delete(entry);
    this.#timeWait.delete(entry);
    entry.wire.close();
  }
  #freePort(guest: Guest, guestPort: number): number | undefined {
    for (let tries = 0; tries < 0x1_0000 - FIRST_PORT; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === 0xffff ? FIRST_PORT : port + 1;
      if (this.#entries.get(guest.ipv4, guestPort, this.#gateway, port) === undefined) return port;
    }
    return undefined;
  }
}

/** What connect() says, and what the guest is told. All else is refused with a reset. */
const CONNECT_ERRORS: Record<string, IcmpError | undefined> = {
  ETIMEDOUT: Icmp.HOST_UNREACHABLE,
  EHOSTUNREACH: Icmp.HOST_UNREACHABLE,
  EHOSTDOWN: Icmp.HOST_UNREACHABLE,
  ENETUNREACH: Icmp.NET_UNREACHABLE,
  ENETDOWN: Icmp.NET_UNREACHABLE,
  EACCES: Icmp.PROHIBITED,
  EPERM: Icmp.PROHIBITED,
};
