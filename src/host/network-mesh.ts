/* The links of a process to all others on a named network: it listens, then connects to each that was there before, and again where such a link ended though both go
 * on. @source docs/network.md "Networks by name", unix(7). Leaves out: looking for others later, since whoever comes connects to this one. On the main thread. */
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { connect as connectSocket, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Cidr } from "../net/address.ts";
import { type Hello, LINK_VERSION, type Member } from "../net/link-codec.ts";
import { type LinkBudget, PeerLink } from "../net/peer-link.ts";
import type { Uplink } from "../net/uplink.ts";
import { withShortPath } from "./control.ts";
import { HostError } from "./host-error.ts";
import { removeSocket } from "./network-directory.ts";

/** More processes than addresses there cannot be. */
const MAX_LINKS = 2048;
/** A process that was busy or stopped for so long is not waited for: the link is there, and says hello when it goes on. */
const HELLO_MS = 5000;
/** Who connects says hello at once. */
const GREETING_MS = 10_000;
/** Before a link that ended is opened again, the first time and at most. Longer each time, so that two that do not understand each other cost nothing. */
const REOPEN_MS = { first: 100, longest: 30_000 } as const;
const SOCKET = /^[0-9a-f]{16}\.sock$/;

export interface MeshOptions {
  /** The network's directory. */
  readonly path: string;
  readonly name: string;
  readonly network: Cidr;
  readonly uplink: Uplink;
}

export class NetworkMesh {
  readonly #options: MeshOptions;
  readonly #id = randomBytes(8).toString("hex");
  readonly #budget: LinkBudget = { queuedBytes: 0 };
  readonly #server: Server;
  readonly #connections = new Set<PeerLink>();
  /** Those that hello was said to; the peer's identifier where it said hello too. */
  readonly #greeted = new Map<PeerLink, string | undefined>();
  readonly #earlier: readonly string[];
  #members: readonly Member[] = [];
  /** For links that are to be opened again. */
  readonly #waiting = new Set<NodeJS.Timeout>();
  #isClosed = false;

  private constructor(options: MeshOptions) {
    this.#options = options;
    // Whoever has a socket here is listening at it, or dead: sockets are made in turn.
    this.#earlier = readdirSync(options.path).filter((name) => SOCKET.test(name));
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Listens. To be called in turn: then of two processes exactly one finds the other. @throws HostError "state" */
  static async listen(options: MeshOptions): Promise<NetworkMesh> {
    const mesh = new NetworkMesh(options);
    const path = join(options.path, `${mesh.#id}.sock`);
    await withShortPath(
      path,
      (short) =>
        new Promise<void>((resolve, reject) => {
          mesh.#server.once("error", reject);
          mesh.#server.listen(short, resolve);
        }),
    ).catch((error: unknown) => {
      const { code = String(error) } = error as NodeJS.ErrnoException;
      throw new HostError(
        "state",
        `No socket can be made in ${options.path} (${code}); use a local file system.`,
        error,
      );
    });
    // A network keeps no process alive.
    mesh.#server.on("error", () => undefined).unref();
    return mesh;
  }

  /** Links to all processes that were there before; sockets of dead ones are removed. @returns once those that answer know of this one
   *  @throws HostError "unreachable": one is another version, or takes no more links */
  async connect(): Promise<void> {
    await Promise.all(this.#earlier.map((name) => this.#connect(join(this.#options.path, name))));
  }
  /** What VMs this process has, for the others. */
  setMembers(members: readonly Member[]): void {
    this.#members = members;
    for (const link of this.#greeted.keys()) link.sayMembers(members);
  }
  /** Ends all links and removes the socket. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#waiting) clearTimeout(timer);
    // Before the server closes: afterwards nobody answers at it.
    removeSocket(join(this.#options.path, `${this.#id}.sock`));
    this.#server.close();
    for (const link of this.#connections) link.close();
  }

  #hello(): Hello {
    return { id: this.#id, pid: process.pid, members: this.#members };
  }
  #accept(socket: Socket): void {
    if (this.#isClosed || this.#connections.size >= MAX_LINKS) return void socket.destroy();
    socket.unref();
    const link = this.#link(socket, {
      hello: (hello) => {
        clearTimeout(timer);
        // A second link would bring broadcasts twice.
        if (this.#isKnown(hello.id)) return link.close();
        this.#greet(link);
        this.#join(link, hello);
      },
      version: () => {
        link.sayHello(this.#hello());
        link.close();
      },
      ended: () => clearTimeout(timer),
    });
    const timer = setTimeout(() => link.close(), GREETING_MS).unref();
  }
  /** @param waitMs until the link is opened again, should it end  @param isWaitedFor does the process go on for it? */
  async #connect(path: string, waitMs: number = REOPEN_MS.first, isWaitedFor = true): Promise<void> {
    const socket = await open(path);
    if (socket === undefined) return removeSocket(path);
    if (this.#isClosed) return void socket.destroy();
    if (!isWaitedFor) socket.unref();
    const answered = Promise.withResolvers<void>();
    const openedAt = performance.now();
    let isUnderstood = true;
    const link = this.#link(socket, {
      hello: (hello) => {
        this.#join(link, hello);
        answered.resolve();
      },
      version: (version) => {
        isUnderstood = false;
        answered.reject(otherVersion(this.#options.name, version));
        link.close();
      },
      ended: () => {
        answered.resolve();
        const wasLong = performance.now() - openedAt > REOPEN_MS.longest;
        if (isUnderstood) this.#reopen(path, wasLong ? REOPEN_MS.first : waitMs);
      },
    });
    this.#greet(link);
    const timer = setTimeout(() => answered.resolve(), HELLO_MS);
    if (!isWaitedFor) timer.unref();
    try {
      await answered.promise;
    } finally {
      clearTimeout(timer);
      socket.unref();
    }
  }
  /** After a wrong message from either side, say. A process that is gone is found to be, and one that left took its socket with it. */
  #reopen(path: string, waitMs: number): void {
    if (this.#isClosed) return;
    const nextMs = Math.min(2 * waitMs, REOPEN_MS.longest);
    const open = (): void => {
      this.#waiting.delete(timer);
      // Where it takes no links now.
      this.#connect(path, nextMs, false).catch(() => this.#reopen(path, nextMs));
    };
    // Not all of a network in step.
    const timer = setTimeout(open, waitMs * (0.5 + Math.random() / 2)).unref();
    this.#waiting.add(timer);
  }

  #link(socket: Socket, on: { hello(hello: Hello): void; version(version: number): void; ended(): void }): PeerLink {
    const { network, uplink } = this.#options;
    const link = new PeerLink(socket, network, this.#budget, {
      hello: (hello) => on.hello(hello),
      version: (version) => on.version(version),
      members: (members) => uplink.setMembers(link, members),
      packet: (packet) => uplink.deliver(link, packet),
      ended: () => {
        this.#connections.delete(link);
        this.#greeted.delete(link);
        uplink.remove(link);
        on.ended();
      },
    });
    this.#connections.add(link);
    return link;
  }
  #greet(link: PeerLink): void {
    link.sayHello(this.#hello());
    this.#greeted.set(link, undefined);
  }
  #join(link: PeerLink, { id, members }: Hello): void {
    this.#greeted.set(link, id);
    this.#options.uplink.setMembers(link, members);
  }
  #isKnown(id: string): boolean {
    return id === this.#id || [...this.#greeted.values()].includes(id);
  }
}

/** @returns undefined if nobody listens any more. @throws HostError "unreachable" */
async function open(path: string): Promise<Socket | undefined> {
  const deadline = performance.now() + HELLO_MS;
  for (;;) {
    const result = await withShortPath(path, openOnce);
    if (typeof result !== "string") return result;
    if (result === "ECONNREFUSED" || result === "ENOENT") return undefined;
    // EAGAIN: so many connect to it at once that it has not come to take them.
    if (result !== "EAGAIN" || performance.now() >= deadline)
      throw new HostError(
        "unreachable",
        `A process of this network takes no links (${result} at ${path}); end it, or take another network.`,
      );
    await delay(10 + Math.random() * 40);
  }
}
function openOnce(path: string): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connectSocket(path);
    // Also what comes before the link listens to it.
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once("connect", () => resolve(socket));
  });
}
function otherVersion(name: string, version: number): HostError {
  return new HostError(
    "unreachable",
    `The network ${name} has VMs of another version of Mere (its links have version ${version}, here ${LINK_VERSION}): stop them, or take another network.`,
  );
}
