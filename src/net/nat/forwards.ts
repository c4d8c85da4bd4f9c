/* Forwarded ports: the host listens, and what comes there goes to a guest's port, where it appears to come from the gateway. By default only the host itself
 * can connect (docs/network.md says why). I/O thread. */
import { createSocket } from "node:dgram";
import { createServer, isIP } from "node:net";
import { type Ipv4, formatIpv4 } from "../address.ts";
import { NetworkError } from "../network-error.ts";
import type { Protocol } from "../policy.ts";
import type { Guest } from "./guests.ts";
import type { Tcp } from "./tcp.ts";
import type { Udp, UdpFlow } from "./udp.ts";

const DEFAULT_HOST_ADDRESS = "127.0.0.1";

export interface ForwardOptions {
  readonly protocol?: Protocol;
  /** IPv4 or IPv6 address of the host to listen at; 127.0.0.1 if not given. */
  readonly hostAddress?: string | undefined;
  /** 0: any that is free. */
  readonly hostPort: number;
  readonly guestPort: number;
  /** Needed where the network has several VMs. */
  readonly guest?: Ipv4 | undefined;
}

/** A port that is listened at. */
export interface Forward {
  readonly protocol: Protocol;
  readonly hostAddress: string;
  /** The port itself, where any was asked for. */
  readonly hostPort: number;
  readonly guest: Ipv4;
  readonly guestPort: number;
  /** Listens no more; connections that are there go on. */
  close(): Promise<void>;
}

/** Listens at a TCP port. @throws NetworkError */
export async function forwardTcp(tcp: Tcp, guest: Guest, options: ForwardOptions): Promise<Forward> {
  const { hostAddress = DEFAULT_HOST_ADDRESS, hostPort, guestPort } = options;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true });
  server.on("connection", (socket) => {
    if (tcp.forward(socket, guest, guestPort)) return;
    socket.on("error", () => {});
    socket.resetAndDestroy();
  });
  await listening(server, options, () => server.listen({ host: hostAddress, port: hostPort, exclusive: true }));
  // Such as too many open files: the next one may be accepted again.
  server.on("error", () => {});
  const { port } = server.address() as { port: number };
  const close = async () => {
    await new Promise<void>((done) => {
      // Its connections are the gateway's, so it does not wait for them.
      server.close(() => done());
      done();
    });
  };
  return { protocol: "tcp", hostAddress, hostPort: port, guest: guest.ipv4, guestPort, close };
}

/** Listens at a UDP port. @throws NetworkError */
export async function forwardUdp(udp: Udp, guest: Guest, options: ForwardOptions): Promise<Forward> {
  const { hostAddress = DEFAULT_HOST_ADDRESS, hostPort, guestPort } = options;
  const socket = createSocket({
    type: isIP(hostAddress) === 6 ? "udp6" : "udp4",
    lookup: (host, _options, found) => found(null, host, isIP(host)),
  });
  const flows = new Map<string, UdpFlow>();
  let isOpen = true;
  socket.on("message", (data, { address, port }) => {
    const peer = `${address} ${port}`;
    const answers = {
      // Lost if the host's network does not take it.
      send: (answer: Uint8Array) => {
        if (isOpen) socket.send(answer, port, address, () => {});
      },
      closed: () => flows.delete(peer),
    };
    const flow = udp.forward(guest, guestPort, data, answers, flows.get(peer));
    if (flow !== undefined) flows.set(peer, flow);
  });
  await listening(socket, options, () => socket.bind({ address: hostAddress, port: hostPort, exclusive: true }));
  socket.on("error", () => {});
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await new Promise<void>((done) => socket.close(done));
  };
  return { protocol: "udp", hostAddress, hostPort: socket.address().port, guest: guest.ipv4, guestPort, close };
}

/** Waits until a server listens. */
async function listening(
  server: Pick<NodeJS.EventEmitter, "once" | "removeListener">,
  options: ForwardOptions,
  listen: () => void,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(listenError(options, error));
    server.once("error", failed);
    server.once("listening", () => {
      server.removeListener("error", failed);
      resolve();
    });
    listen();
  });
}

function listenError(options: ForwardOptions, error: NodeJS.ErrnoException): NetworkError {
  const { hostAddress = DEFAULT_HOST_ADDRESS, hostPort, guestPort, guest, protocol = "tcp" } = options;
  const where = `${isIP(hostAddress) === 6 ? `[${hostAddress}]` : hostAddress}:${hostPort}/${protocol}`;
  const what = guest === undefined ? `${guestPort}` : `${formatIpv4(guest)}:${guestPort}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new NetworkError(
        "port-in-use",
        `${where} cannot be forwarded to the VM's port ${what}, because it is in use: choose another port of the host, or 0 for any.`,
        error,
      );
    case "EACCES":
    case "EPERM":
      return new NetworkError(
        "not-permitted",
        `${where} may not be listened at by this user: choose a port of the host from 1024 on.`,
        error,
      );
    case "EADDRNOTAVAIL":
    case "ENODEV":
      return new NetworkError(
        "no-such-address",
        `${hostAddress} is no address of this host: forward from one of its own, or from 0.0.0.0 for all.`,
        error,
      );
    default:
      return new NetworkError(
        "failed",
        `${where} cannot be listened at (${error.code ?? error.message}): check the address and the host's network.`,
        error,
      );
  }
}
