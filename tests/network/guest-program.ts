/* What runs as the guest's program in tests with the kernel as the guest (tests/network): opens connections, sends known bytes, checks what comes back.
 * Usage: node guest-program.ts COMMAND HOST PORT [NUMBER…]; prints one line of JSON. */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type Socket, connect, createServer } from "node:net";

const [command = "", host = "", port = "", ...numbers] = process.argv.slice(2);
const [first = 1, second = 0] = numbers.map(Number);

/** Bytes that differ between seeds and positions. */
export function pattern(seed: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed | 1;
  for (let at = 0; at < length; at++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    bytes[at] = state >>> 24;
  }
  return bytes;
}
async function dial(): Promise<Socket> {
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}
/** Sends, ends, and reads to the end. @returns whether the same came back */
async function echo(seed: number, length: number): Promise<boolean> {
  const socket = await dial();
  const bytes = pattern(seed, length);
  socket.end(bytes);
  return Buffer.concat(await socket.toArray()).equals(bytes);
}
async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "none";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

const commands: Record<string, () => Promise<unknown>> = {
  /** `first` connections at once with up to `second` bytes each. */
  together: async () => {
    const same = await Promise.all(Array.from({ length: first }, (_, seed) => echo(seed, (seed * 7919) % second)));
    return same.filter(Boolean).length;
  },
  /** `first` connections one after another. */
  serial: async () => {
    let good = 0;
    for (let seed = 0; seed < first; seed++) if (await echo(seed, second)) good++;
    return good;
  },
  /** How connecting fails. */
  connect: () => codeOf(dial),
  /** How reading fails after the other side was sent something. */
  read: () =>
    codeOf(async () => {
      const socket = await dial();
      socket.write("go");
      await socket.toArray();
    }),
  /** Resets a connection. */
  reset: async () => {
    const socket = await dial();
    socket.write("x");
    await once(socket, "data");
    socket.resetAndDestroy();
    return "reset";
  },
  /** Reads all, slowly at first: pauses until a byte comes on standard input. @returns its digest */
  slow: async () => {
    const socket = await dial();
    socket.pause();
    process.stdout.write("paused\n");
    await once(process.stdin, "data");
    process.stdin.pause();
    const hash = createHash("sha256");
    for await (const chunk of socket) hash.update(chunk as Buffer);
    return hash.digest("hex");
  },
  /** Serves TCP: echoes to the end. */
  serve: async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    server.listen(Number(port), host);
    await once(server, "listening");
    process.stdout.write("listening\n");
    return new Promise(() => {});
  },
  /** One datagram of `first` bytes. @returns the answer's length, or how it fails */
  udp: async () => {
    const socket = createSocket("udp4");
    await new Promise<void>((connected) => socket.connect(Number(port), host, connected));
    const { promise, resolve } = Promise.withResolvers<unknown>();
    socket.on("message", (answer) => resolve(answer.equals(pattern(first, first))));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.send(pattern(first, first));
    const result = await promise;
    socket.close();
    return result;
  },
  /** Echoes datagrams. */
  serveUdp: async () => {
    const socket = createSocket("udp4");
    socket.on("message", (data, peer) => socket.send(data, peer.port, peer.address));
    socket.bind(Number(port), host);
    await once(socket, "listening");
    process.stdout.write("listening\n");
    return new Promise(() => {});
  },
};

if (command !== "") {
  process.stdout.write(`${JSON.stringify(await commands[command]!())}\n`);
}
