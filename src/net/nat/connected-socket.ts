/* A UDP socket of the host's that is connected to one peer, so that the host's system passes on only what that peer sends, and says when nobody listens.
 * Node's own throws, where nobody can catch it, if it is used or closed while it connects. @source Node dgram; connect(2), udp(7). I/O thread. */
import { type Socket, createSocket } from "node:dgram";
import { isIP } from "node:net";

/** What waits because the host's network is slower than the guest. */
const MAX_QUEUED_BYTES = 1 << 20;
/** Datagrams before the socket is connected, which is a turn of the event loop. */
const MAX_WAITING = 64;

export interface ConnectedSocketUser {
  onMessage(data: Uint8Array): void;
  /** @param localAddress the host's address that the peer sees */
  onConnect?(localAddress: string): void;
  /** @param code such as ECONNREFUSED. The socket is useless after some of them, and should be closed. */
  onError(code: string): void;
}

export class ConnectedSocket {
  readonly #socket: Socket;
  readonly #user: ConnectedSocketUser;
  #state: "connecting" | "open" | "closed" = "connecting";
  #waiting: Uint8Array[] = [];

  /** @param address IPv4 or IPv6, no name */
  constructor(address: string, port: number, user: ConnectedSocketUser) {
    this.#user = user;
    const family = isIP(address);
    this.#socket = createSocket({
      type: family === 6 ? "udp6" : "udp4",
      // Not at once: an error would come before the constructor returns.
      lookup: (host, _options, found) => process.nextTick(found, null, host, family),
    });
    this.#socket.on("message", (data) => {
      if (this.#state === "open") user.onMessage(data);
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#fail(error));
    this.#socket.once("connect", () => this.#connected());
    this.#socket.connect(port, address);
  }

  /** Sends a datagram, which nobody changes afterwards; it is lost where there is no room. */
  send(data: Uint8Array): void {
    if (this.#state === "connecting" && this.#waiting.length < MAX_WAITING) this.#waiting.push(data);
    if (this.#state !== "open" || this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES) return;
    this.#socket.send(data, (error) => {
      if (error !== null) this.#fail(error);
    });
  }
  /** Nothing is called afterwards. */
  close(): void {
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    this.#waiting = [];
    // One that connects is closed when it has.
    if (wasOpen) this.#socket.close();
  }

  #connected(): void {
    if (this.#state === "closed") {
      this.#socket.close();
      return;
    }
    this.#state = "open";
    this.#user.onConnect?.(this.#socket.address().address);
    for (const data of this.#waiting.splice(0)) this.send(data);
  }
  #fail(error: NodeJS.ErrnoException): void {
    if (this.#state === "closed") return;
    // It will not connect any more, so close() has nothing to wait for.
    if (this.#state === "connecting") this.#state = "open";
    this.#user.onError(error.code ?? "");
  }
}
