/* For tests: an agent that does what the test says, to show what the client makes of it. */
import { type Duplex, duplexPair } from "node:stream";
import { FRAME_HEADER_BYTES } from "./protocol.ts";
import type { AgentTransport } from "./requests.ts";

/** What the agent does with one connection. A socket that is destroyed breaks the connection off. */
export type Behaviour = (socket: Duplex, request: { type: number; payload: Buffer }) => void;

/** Connections in memory to an agent of that behaviour, which begins with the whole request. */
export function fakeTransport(behaviour: Behaviour): AgentTransport {
  return {
    connect: async () => {
      const [host, guest] = duplexPair();
      host.on("error", () => {});
      guest.on("error", () => {});
      guest.on("close", () => {
        // What was sent before can still be read.
        setImmediate(() => host.destroy(guest.readableEnded ? undefined : new Error("reset")));
      });
      host.on("close", () => guest.destroy());
      onRequest(guest, behaviour);
      return host;
    },
    listen: () => () => undefined,
  };
}

function onRequest(socket: Duplex, behaviour: Behaviour): void {
  let bytes = Buffer.alloc(0);
  const receive = (chunk: Buffer): void => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length < FRAME_HEADER_BYTES || bytes.length < FRAME_HEADER_BYTES + bytes.readUInt32LE(0)) return;
    const end = FRAME_HEADER_BYTES + bytes.readUInt32LE(0);
    socket.off("data", receive);
    socket.pause();
    if (bytes.length > end) socket.unshift(bytes.subarray(end));
    behaviour(socket, { type: bytes[4]!, payload: bytes.subarray(FRAME_HEADER_BYTES, end) });
  };
  socket.on("data", receive);
}
