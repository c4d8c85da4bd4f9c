/* A TAP device of the host as an endpoint of the switch: packets pass with the kernel's own virtio-net header, uncut and unsummed. @source Linux
 * Documentation/networking/tuntap.rst, drivers/net/tun.c. An existing device of the user's; making one, its addresses and bridges are the host's business. I/O thread,
 * with a watcher (tap-watch.ts). Leaves out: several queues. */
import { closeSync, constants, openSync, readFileSync, writeSync, writevSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { Doorbell } from "../device/shared.ts";
import { NET_HEADER_BYTES, readNetHeader, writeNetHeader } from "../device/virtio/net-header.ts";
import { type Cable, MAX_PACKET_BYTES, type NetworkEndpoint, type Offloads, type Packet, takeBytes } from "./packet.ts";
import { Errno, type TapCalls, Tun, tapCalls } from "./tap-calls.ts";
import { Asked, WatchWord, type WatchStart } from "./tap-watch-protocol.ts";

const IFREQ_BYTES = 40;
const MAX_NAME_BYTES = 15;
/** Packets taken in one turn of the event loop: then others have theirs. */
const PACKETS_AT_A_TIME = 64;
const EVERYTHING: Offloads = { checksum: true, tcp4: true, tcp6: true };
const NOTHING: Offloads = { checksum: false, tcp4: false, tcp6: false };

export type TapErrorCode = "unsupported" | "missing" | "not-allowed" | "busy" | "not-a-tap" | "failed";

/** A TAP device cannot be used. The message says what to do. */
export class TapError extends Error {
  readonly code: TapErrorCode;
  constructor(code: TapErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "TapError";
    this.code = code;
  }
}

export interface TapOptions {
  /** false: neither gives nor takes anything that is to be cut or summed; for tests and for kernels that do it wrong. */
  readonly offload?: boolean;
}

/** Opens an existing TAP device. The caller plugs its cable in and closes it. @throws TapError */
export function openTap(name: string, { offload = true }: TapOptions = {}): Tap {
  if (tapCalls === undefined)
    throw new TapError(
      "unsupported",
      "This Node cannot call the kernel (node:ffi is off): leave tap out, or use Mere's own Node.",
    );
  checkDevice(name);
  const fd = openTun(name);
  try {
    attach(tapCalls, fd, name, offload);
    return new Tap(tapCalls, fd, offload ? EVERYTHING : NOTHING);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Asked for a device that is not there, the kernel would make one for root: down, without an address, and gone with the VM. */
function checkDevice(name: string): void {
  const missing = new TapError(
    "missing",
    `There is no TAP device ${JSON.stringify(name)}: make it with "ip tuntap add dev NAME mode tap user USER" and "ip link set NAME up".`,
  );
  if (!/^[\w.:-]+$/.test(name) || name.length > MAX_NAME_BYTES || /^\.+$/.test(name)) throw missing;
  let flags: number;
  try {
    readFileSync(`/sys/class/net/${name}/address`);
  } catch {
    throw missing;
  }
  try {
    flags = Number(readFileSync(`/sys/class/net/${name}/tun_flags`, "latin1"));
  } catch {
    flags = 0;
  }
  if ((flags & Tun.IFF_TAP) === 0)
    throw new TapError(
      "not-a-tap",
      `${name} is a network device, but not a TAP: give the name of one made with "ip tuntap add dev NAME mode tap".`,
    );
}
function openTun(name: string): number {
  try {
    return openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM")
      throw new TapError(
        "not-allowed",
        `/dev/net/tun may not be opened, so ${name} cannot be used: ask root for read and write permission on it.`,
        error,
      );
    throw new TapError(
      "unsupported",
      `/dev/net/tun cannot be opened (${String(code)}): load the kernel's module tun, or use another network.`,
      error,
    );
  }
}

function attach(calls: TapCalls, fd: number, name: string, offload: boolean): void {
  const request = new DataView(new ArrayBuffer(IFREQ_BYTES));
  new TextEncoder().encodeInto(name, new Uint8Array(request.buffer));
  request.setUint16(16, Tun.IFF_TAP | Tun.IFF_NO_PI | Tun.IFF_VNET_HDR, true);
  const result = calls.ioctl(fd, Tun.SETIFF, new Uint8Array(request.buffer));
  if (result < 0) throw attachError(name, -result);
  const headerBytes = new Uint8Array(Int32Array.of(NET_HEADER_BYTES).buffer);
  const offloads = offload ? Tun.F_CSUM | Tun.F_TSO4 | Tun.F_TSO6 : 0;
  if (calls.ioctl(fd, Tun.SETVNETHDRSZ, headerBytes) < 0 || calls.ioctl(fd, Tun.SETOFFLOAD, offloads) < 0)
    throw new TapError(
      "failed",
      `The kernel's TAP ${name} knows no virtio-net headers: a Linux from 2.6.32 on is needed.`,
    );
}
function attachError(name: string, errno: number): TapError {
  if (errno === Errno.EPERM)
    return new TapError(
      "not-allowed",
      `${name} is another user's TAP device: have root make it with "user" and your name, or run Mere as its owner.`,
    );
  if (errno === Errno.EBUSY)
    return new TapError("busy", `${name} is in use by another program or VM: give each VM a TAP device of its own.`);
  if (errno === Errno.EINVAL)
    return new TapError(
      "not-a-tap",
      `${name} is not a TAP device with one queue: make it with "ip tuntap add dev NAME mode tap", without "multi_queue".`,
    );
  return new TapError(
    "failed",
    `${name} cannot be used (error ${errno} of the kernel): check the device with "ip -d link show ${name}".`,
  );
}

export class Tap implements NetworkEndpoint {
  readonly offloads: Offloads;
  readonly #calls: TapCalls;
  readonly #fd: number;
  readonly #endFd: number;
  readonly #words = new SharedArrayBuffer(4 * WatchWord.COUNT);
  readonly #watcher: Worker;
  readonly #stopBell: () => Promise<void>;
  readonly #onExit = (): void => this.#endWatcher();
  readonly #buffer = new Uint8Array(NET_HEADER_BYTES + MAX_PACKET_BYTES);
  readonly #bufferHeader = new DataView(this.#buffer.buffer, 0, NET_HEADER_BYTES);
  readonly #sent = new DataView(new ArrayBuffer(NET_HEADER_BYTES));
  readonly #sentBytes = new Uint8Array(this.#sent.buffer);
  #cable: Cable | undefined;
  /** A packet for which the switch had no room; nothing more is read then. */
  #held: Packet | undefined;
  #closed = false;

  /** @param fd owned from now on, unless this throws */
  constructor(calls: TapCalls, fd: number, offloads: Offloads) {
    this.#calls = calls;
    this.#fd = fd;
    this.offloads = offloads;
    this.#endFd = calls.eventfd();
    if (this.#endFd < 0) throw new TapError("failed", "No more files can be opened: raise the limit (ulimit -n).");
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    const workerData: WatchStart = { words: this.#words, tapFd: fd, endFd: this.#endFd };
    this.#watcher = new Worker(new URL(`./tap-watch${extension}`, import.meta.url), { workerData });
    this.#watcher.unref();
    // A thread in a system call cannot be terminated: the process would not end.
    process.on("exit", this.#onExit);
    this.#stopBell = new Doorbell(this.#words, 4 * WatchWord.BELL).serve(() => this.#read());
  }

  /** Puts the cable in; what the kernel has is read from now on. */
  plug(cable: Cable): void {
    this.#cable = cable;
    cable.onRoom = () => this.#onRoom();
    this.#ask(Asked.WATCH);
  }

  /** Never waits: a frame that the kernel does not take (the device is down, its queue is full) is lost, as on any wire. */
  receive(packet: Packet): boolean {
    if (this.#closed) return true;
    writeNetHeader(this.#sent, packet, 0);
    try {
      writevSync(this.#fd, [this.#sentBytes, packet.bytes]);
    } catch {
      // Lost; see above.
    }
    packet.release?.();
    return true;
  }

  /** Frees the device. The cable is closed too. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cable?.close();
    process.off("exit", this.#onExit);
    const ended = new Promise<void>((resolve) => void this.#watcher.once("exit", () => resolve()));
    this.#watcher.ref();
    this.#endWatcher();
    await ended;
    await this.#stopBell();
    closeSync(this.#endFd);
    closeSync(this.#fd);
  }
  #endWatcher(): void {
    this.#ask(Asked.END);
    writeSync(this.#endFd, new Uint8Array(BigUint64Array.of(1n).buffer));
  }
  #ask(what: number): void {
    const w = new Int32Array(this.#words);
    Atomics.store(w, WatchWord.ASKED, what);
    Atomics.notify(w, WatchWord.ASKED);
  }

  #onRoom(): void {
    if (this.#held === undefined) return;
    const held = this.#held;
    this.#held = undefined;
    if (this.#send(held)) this.#read();
  }
  #send(packet: Packet): boolean {
    if (this.#cable!.send(packet)) return true;
    this.#held = packet;
    return false;
  }
  #read(): void {
    for (let n = 0; n < PACKETS_AT_A_TIME; n++) {
      if (this.#closed || this.#held !== undefined) return;
      const length = this.#calls.read(this.#fd, this.#buffer);
      if (length === -Errno.EAGAIN || length === -Errno.EINTR) {
        this.#rest(n === 0);
        return;
      }
      // The device was removed: there is nothing to wait for any more.
      if (length < 0) return;
      const bytes = takeBytes(length - NET_HEADER_BYTES);
      bytes.set(this.#buffer.subarray(NET_HEADER_BYTES, length));
      const packet = readNetHeader(this.#bufferHeader, bytes, { offloads: this.offloads, mtu: MAX_PACKET_BYTES });
      if (packet !== undefined && !this.#send(packet)) return;
    }
    setImmediate(() => this.#read());
  }
  /** Nothing is there: looks once more after others had their turn (under load that saves waking the watcher), then has it watch. */
  #rest(nothingCame: boolean): void {
    if (nothingCame) this.#ask(Asked.WATCH);
    else setImmediate(() => this.#read());
  }
}
