/* virtio socket device: stream connections between the host's side and programs in the guest. @source virtio 1.2 §5.10. I/O thread.
 * Sockets themselves are in vsock-socket.ts, packets in vsock-packet.ts. Leaves out: SOCK_SEQPACKET, the transport-reset event (a VM keeps its CID), guests reaching other guests.
 *
 *   config  +0 u64 guest_cid
 *
 * Nothing that the guest sends makes more than a bounded amount wait here: connections, bytes of each, and answers to packets that belong to none. While
 * such answers find no room, no more is taken from the guest. */
import type { Duplex } from "node:stream";
import { gather, range, scatter } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import { VsockError } from "./vsock-error.ts";
import { decodeHeader, encodeHeader, HEADER_BYTES, HOST_CID, type VsockHeader, VsockOp } from "./vsock-packet.ts";
import { VsockSocket } from "./vsock-socket.ts";

const RX = 0;
const TX = 1;
/** Each VM's guest has the same: VMs cannot see each other. */
const GUEST_CID = 3;
/** Linux fills the receive queue with buffers of 4 KiB: half a MiB of the guest's memory. */
const QUEUE_SIZE = 128;
const EVENT_QUEUE_SIZE = 64;
/** 256 connections of at most 256 KiB each. */
const MAX_CONNECTIONS = 256;
/** RSTs that wait for room in the guest's receive queue. */
const MAX_RESETS = 64;
/** Ports of the host's side are below this, so that two ports make one exact number. */
const PORT_LIMIT = 1 << 20;
/** Where connections from the host come from. */
const FIRST_EPHEMERAL = 1 << 16;
const CONNECT_TIMEOUT_MS = 10_000;

/** Takes connections that the guest makes. @param guestPort below 1024: only root of the guest can have it */
export type VsockListener = (socket: Duplex, guestPort: number) => void;

/** The device, and the host's end of its connections. */
export class VsockDevice implements VirtioDevice {
  readonly description: VirtioDescription;
  readonly #guestCid: number;
  readonly #sockets = new Map<number, VsockSocket>();
  readonly #listeners = new Map<number, VsockListener>();
  /** Sockets with something to send, in turn. */
  readonly #ready = new Set<VsockSocket>();
  readonly #resets: { hostPort: number; guestPort: number }[] = [];
  #nextPort = FIRST_EPHEMERAL;
  #port: VirtioPort | undefined;
  #closed = false;
  #transmitWaits = false;
  #sending = false;

  constructor({ guestCid = GUEST_CID }: { guestCid?: number } = {}) {
    this.#guestCid = guestCid;
    const config = new Uint8Array(8);
    new DataView(config.buffer).setBigUint64(0, BigInt(guestCid), true);
    this.description = {
      name: "vsock",
      deviceId: 19,
      features: [],
      queueSizes: [QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE],
      config,
    };
  }

  attach(port: VirtioPort): void {
    this.#port = port;
  }
  process(queueIndex: number): void {
    if (queueIndex === RX) this.#send();
    if (queueIndex === RX && this.#transmitWaits) {
      this.#port!.queues[TX]!.begin();
      this.#receive();
    }
    if (queueIndex === TX) this.#receive();
  }

  /** Connects to a port of the guest. The stream is half-closable: end() leaves it readable.
   *  @throws VsockError refused, timed-out, too-many, closed; the signal's reason when aborted */
  async connect(
    guestPort: number,
    { timeoutMs = CONNECT_TIMEOUT_MS, signal }: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<Duplex> {
    signal?.throwIfAborted();
    if (this.#closed) throw new VsockError("closed", "The VM has ended, so nothing in it can be connected to.");
    if (this.#sockets.size >= MAX_CONNECTIONS)
      throw new VsockError("too-many", `There are ${MAX_CONNECTIONS} connections into the VM; close some first.`);
    const socket = this.#newSocket(this.#freePort(guestPort), guestPort);
    const connected = socket.connect();
    const timer = setTimeout(() => {
      const seconds = timeoutMs / 1000;
      const sentence = `Nothing in the VM answered on vsock port ${guestPort} within ${seconds} s; is the guest running?`;
      socket.destroy(new VsockError("timed-out", sentence));
    }, timeoutMs);
    const abort = (): void => void socket.destroy(signal!.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await connected;
      return socket;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Takes the guest's connections to a port of the host's side. @returns stops it; connections that are there stay
   *  @throws RangeError when the port is taken or too large (a mistake of the caller) */
  listen(hostPort: number, listener: VsockListener): () => void {
    if (!(hostPort > 0 && hostPort < FIRST_EPHEMERAL) || this.#listeners.has(hostPort))
      throw new RangeError(`vsock port ${hostPort} cannot be listened on`);
    this.#listeners.set(hostPort, listener);
    return () => this.#listeners.delete(hostPort);
  }

  /** Ends all connections with an error: the VM has ended. */
  close(): void {
    this.#closed = true;
    this.#listeners.clear();
    for (const socket of this.#sockets.values())
      socket.destroy(new VsockError("closed", "The VM ended while something was connected to it."));
  }

  #freePort(guestPort: number): number {
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port + 1 < PORT_LIMIT ? port + 1 : FIRST_EPHEMERAL;
      if (!this.#sockets.has(key(port, guestPort))) return port;
    }
  }
  #newSocket(hostPort: number, guestPort: number): VsockSocket {
    const id = key(hostPort, guestPort);
    const socket = new VsockSocket(
      { hostPort, guestPort },
      {
        ready: () => {
          this.#ready.add(socket);
          this.#kick();
        },
        gone: (reset) => {
          this.#sockets.delete(id);
          this.#ready.delete(socket);
          if (reset) this.#reset(hostPort, guestPort);
        },
      },
    );
    this.#sockets.set(id, socket);
    return socket;
  }

  /** Sends what there is to send, from outside of process(). */
  #kick(): void {
    const queue = this.#port?.queues[RX];
    // A stream that has sent all may be given more at once, from inside of #send().
    if (queue === undefined || this.#sending) return;
    queue.begin();
    this.#send();
  }
  #reset(hostPort: number, guestPort: number): void {
    if (this.#closed || this.#resets.length >= 2 * MAX_RESETS) return;
    this.#resets.push({ hostPort, guestPort });
    this.#kick();
  }

  /** Fills the driver's receive buffers. */
  #send(): void {
    const queue = this.#port!.queues[RX]!;
    this.#sending = true;
    for (let socket = this.#turn(); socket !== undefined || this.#resets.length > 0; socket = this.#turn()) {
      const chain = queue.pop();
      if (!chain) break;
      const room = chain.writableBytes - HEADER_BYTES;
      queue.push(chain, room > 0 ? this.#fill(chain.writable, room, socket) : 0);
    }
    this.#sending = false;
    queue.signal();
  }
  /** The socket whose turn it is to send. */
  #turn(): VsockSocket | undefined {
    for (const socket of this.#ready) {
      if (socket.hasMore) return socket;
      this.#ready.delete(socket);
    }
    return undefined;
  }
  /** @returns bytes that were written */
  #fill(into: readonly Uint8Array[], room: number, socket: VsockSocket | undefined): number {
    const reset = this.#resets.shift();
    if (reset !== undefined) {
      const header = { ...reset, op: VsockOp.RST, flags: 0, bufAlloc: 0, fwdCnt: 0 };
      return scatter(into, encodeHeader(header, this.#guestCid, 0));
    }
    // Last in turn, if it has more.
    this.#ready.delete(socket!);
    const packet = socket!.next(room)!;
    if (socket!.hasMore) this.#ready.add(socket!);
    scatter(into, encodeHeader(packet.header, this.#guestCid, packet.data.length));
    scatter(range(into, HEADER_BYTES, HEADER_BYTES + room), packet.data);
    packet.sent?.();
    return HEADER_BYTES + packet.data.length;
  }
  /** Takes packets that the driver sent. */
  #receive(): void {
    const queue = this.#port!.queues[TX]!;
    for (;;) {
      // What answers nobody took makes the guest wait, not the host grow.
      this.#transmitWaits = this.#resets.length >= MAX_RESETS;
      if (this.#transmitWaits) break;
      const chain = queue.pop();
      if (!chain) break;
      if (chain.readableBytes >= HEADER_BYTES) this.#packet(chain.readable, chain.readableBytes);
      queue.push(chain, 0);
    }
    queue.signal();
  }
  #packet(parts: readonly Uint8Array[], sizeBytes: number): void {
    const header = decodeHeader(gather(parts, HEADER_BYTES));
    if (header.sourceCid !== this.#guestCid || header.destinationCid !== HOST_CID) return;
    const { hostPort, guestPort, op, length } = header;
    const id = key(hostPort, guestPort);
    const socket = hostPort < PORT_LIMIT ? this.#sockets.get(id) : undefined;
    const right = header.isStream && length <= sizeBytes - HEADER_BYTES;
    if (socket !== undefined && right) {
      socket.receive(header, gather(range(parts, HEADER_BYTES, HEADER_BYTES + length), length));
      return;
    }
    if (socket !== undefined) {
      socket.destroy(new VsockError("broken", "The guest's vsock driver sent a packet that makes no sense."));
      return;
    }
    if (right && op === VsockOp.REQUEST && this.#accept(header)) return;
    if (op !== VsockOp.RST) this.#reset(hostPort, guestPort);
  }
  #accept(header: VsockHeader): boolean {
    const listener = this.#listeners.get(header.hostPort);
    if (listener === undefined || this.#sockets.size >= MAX_CONNECTIONS) return false;
    const socket = this.#newSocket(header.hostPort, header.guestPort);
    socket.accept(header);
    listener(socket, header.guestPort);
    return true;
  }
}

const key = (hostPort: number, guestPort: number): number => hostPort * 0x1_0000_0000 + guestPort;
