/* The Linux kernel as the guest of a gateway: a TAP device in a network namespace of its own, with the offloads of a virtio-net device. Needs root.
 * @source Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h; virtio 1.2 §5.1.6. */
import { type SpawnOptions, execFileSync, spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, writevSync } from "node:fs";
import koffi from "koffi";
import type { Cable, NetworkEndpoint, Packet } from "../../src/net/packet.ts";
import { MAX_PACKET_BYTES } from "../../src/net/packet.ts";

const TUNSETIFF = 0x4004_54ca;
const TUNSETOFFLOAD = 0x4004_54d0;
const IFF = { TAP: 2, NO_PI: 0x1000, VNET_HDR: 0x4000 } as const;
const TUN_F = { CSUM: 1, TSO4: 2 } as const;
const VNET_HDR_BYTES = 10;
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const POLLIN = 1;
/** Frames below this are copied out of the read buffer. */
const COPY_BELOW = 16_384;

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Why there can be no such peer here, or undefined. */
export function whyNoKernelPeer(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root (a TAP device in a network namespace)";
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
    ip("netns", "add", `mere${process.pid}`);
    ip("netns", "del", `mere${process.pid}`);
  } catch {
    return "needs /dev/net/tun, the ip command, and the right to make network namespaces";
  }
  return undefined;
}

const libc = koffi.load("libc.so.6");
const ioctlPointer = libc.func("int ioctl(int, unsigned long, void *)");
const ioctlValue = libc.func("ioctl", "int", ["int", "unsigned long", "unsigned long"]);
const readInto = libc.func("long read(int, _Out_ void *, unsigned long)");
const poll = libc.func("int poll(_Inout_ void *, unsigned long, int)");

export class KernelPeer {
  readonly name: string;
  readonly #fd: number;
  readonly #children = new Set<ReturnType<typeof spawn>>();
  readonly cable: Cable;
  endpoint: NetworkEndpoint | undefined;
  #isClosed = false;
  #reading: Promise<void>;
  /** Frames to the kernel are refused while this is false, as by a device whose queue is full. */
  hasRoom = true;

  /** @param name of the namespace, up to 15 characters  @param offloads checksums and segmentation */
  constructor(name: string, { offloads = true }: { readonly offloads?: boolean } = {}) {
    this.name = name;
    ip("netns", "add", name);
    this.#fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
    const request = Buffer.alloc(40);
    request.write(name, "latin1");
    request.writeUInt16LE(IFF.TAP | IFF.NO_PI | IFF.VNET_HDR, 16);
    if (ioctlPointer(this.#fd, TUNSETIFF, request) !== 0) throw new Error("TUNSETIFF failed");
    if (offloads && ioctlValue(this.#fd, TUNSETOFFLOAD, TUN_F.CSUM | TUN_F.TSO4) !== 0)
      throw new Error("TUNSETOFFLOAD failed");
    ip("link", "set", name, "netns", name);
    ip("-n", name, "link", "set", "lo", "up");
    ip("-n", name, "link", "set", name, "up");
    this.cable = {
      send: (packet) => this.#write(packet),
      hasRoom: () => {},
      onRoom: undefined,
      close: () => {},
    };
    this.#reading = this.#read();
  }

  /** Gives the kernel an address and a default route. */
  configure(address: string, gateway: string): void {
    ip("-n", this.name, "addr", "add", address, "dev", this.name);
    ip("-n", this.name, "route", "add", "default", "via", gateway);
  }
  /** Runs `ip` in the namespace. */
  ip(...words: string[]): string {
    return ip("-n", this.name, ...words);
  }
  spawn(command: readonly string[], options: SpawnOptions = {}): ReturnType<typeof spawn> {
    const child = spawn("ip", ["netns", "exec", this.name, ...command], options);
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }
  /** Runs a command as a program of the guest's. */
  async run(command: readonly string[], input = ""): Promise<Result> {
    const child = this.spawn(command, { stdio: "pipe" });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name]!.on("data", (chunk: Buffer) => (output[name] += String(chunk)));
    child.stdin!.on("error", () => {});
    child.stdin!.end(input);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (status) => resolve({ status, ...output }));
    });
  }
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const child of this.#children) child.kill("SIGKILL");
    ip("-n", this.name, "link", "del", this.name);
    await this.#reading;
    closeSync(this.#fd);
    ip("netns", "del", this.name);
  }

  #write({ bytes, checksum, segment }: Packet): boolean {
    if (!this.hasRoom) return false;
    const header = Buffer.alloc(VNET_HDR_BYTES);
    if (checksum !== undefined) {
      header[0] = NEEDS_CSUM;
      header.writeUInt16LE(checksum.start, 6);
      header.writeUInt16LE(checksum.offset, 8);
    }
    if (segment !== undefined) {
      header[1] = GSO_TCPV4;
      header.writeUInt16LE(checksum!.start + (bytes[checksum!.start + 12]! >>> 4) * 4, 2);
      header.writeUInt16LE(segment.sizeBytes, 4);
    }
    try {
      writevSync(this.#fd, [header, bytes]);
    } catch (error) {
      // The device is deleted while the last frames are on their way.
      if (!this.#isClosed) throw error;
    }
    return true;
  }
  async #read(): Promise<void> {
    const fds = Buffer.alloc(8);
    let buffer = new Uint8Array(VNET_HDR_BYTES + MAX_PACKET_BYTES);
    while (!this.#isClosed) {
      fds.writeInt32LE(this.#fd, 0);
      fds.writeInt16LE(POLLIN, 4);
      await new Promise<void>((resolve) => poll.async(fds, 1, 200, () => resolve()));
      for (;;) {
        const length = this.#isClosed ? -1 : (readInto(this.#fd, buffer, buffer.length) as number);
        if (length < VNET_HDR_BYTES + 14) break;
        const isLarge = length >= COPY_BELOW;
        const frame = isLarge ? buffer.subarray(0, length) : buffer.slice(0, length);
        if (isLarge) buffer = new Uint8Array(buffer.length);
        this.endpoint?.receive(packetOf(frame));
      }
    }
  }
}

function packetOf(frame: Uint8Array): Packet {
  const header = new DataView(frame.buffer, frame.byteOffset, VNET_HDR_BYTES);
  const bytes = frame.subarray(VNET_HDR_BYTES);
  const checksum =
    (header.getUint8(0) & NEEDS_CSUM) === 0
      ? undefined
      : { start: header.getUint16(6, true), offset: header.getUint16(8, true) };
  const segment =
    (header.getUint8(1) & 0x7f) === GSO_TCPV4
      ? ({ protocol: "tcp4", sizeBytes: header.getUint16(4, true) } as const)
      : undefined;
  return { bytes, checksum, segment };
}

function ip(...words: string[]): string {
  return execFileSync("ip", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
