/* The client against agents that are broken, hostile or dead, and its waiting for the agent. What it does with a good one is in exec.test.ts, files.test.ts, copy.test.ts. */
import assert from "node:assert/strict";
import { type Duplex, duplexPair } from "node:stream";
import { describe, test } from "node:test";
import { AgentError, type AgentErrorCode } from "./agent-error.ts";
import { AgentClient } from "./client.ts";
import type { AgentExec } from "./exec.ts";
import { type Behaviour, fakeTransport } from "./fake-agent.fixture.ts";
import {
  FRAME_LIMIT_BYTES,
  FrameWriter,
  In,
  Op,
  Out,
  PORT_READY,
  PROTOCOL_VERSION,
  Refusal,
  STREAM_WINDOW_BYTES,
} from "./protocol.ts";
import { type AgentTransport, requestFrame } from "./requests.ts";

const code = (expected: AgentErrorCode) => ({ name: "AgentError", code: expected });
const client = (behaviour: Behaviour, timeoutMs = 20_000): AgentClient =>
  new AgentClient(fakeTransport(behaviour), { timeoutMs });
const exec = (behaviour: Behaviour, timeoutMs?: number): Promise<AgentExec> =>
  client(behaviour, timeoutMs).exec({ command: ["x"] });
const started = new FrameWriter(Out.STARTED).u32(7).finish();
const exit = new FrameWriter(Out.EXIT).u8(0).u32(0).finish();
const frame = (type: number, bytes: Uint8Array = new Uint8Array(0)): Buffer =>
  new FrameWriter(type).bytes(bytes).finish();
/** A header whose length is not true. */
const lie = (length: number, type: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32LE(length);
  bytes[4] = type;
  return bytes;
};
const refusal = (number: number, errno = 0, detail = "thing"): Buffer =>
  new FrameWriter(Out.ERROR).u16(number).u32(errno).text(detail).finish();

describe("an answer", { timeout: 30_000 }, () => {
  test("that never comes is timed out", async () => {
    await assert.rejects(
      exec(() => {}, 20),
      code("timed-out"),
    );
    await assert.rejects(client(() => {}, 20).stat("/"), code("timed-out"));
    await assert.rejects(client(() => {}, 20).list("/"), code("timed-out"));
    await assert.rejects(client((socket) => socket.resume(), 20).writeFile("/f", "x"), code("timed-out"));
  });
  test("that is cut off, or a connection that breaks, is a loss", async () => {
    await assert.rejects(
      exec((socket) => socket.destroy()),
      code("lost"),
    );
    await assert.rejects(
      exec((socket) => socket.end(started.subarray(0, 6))),
      code("lost"),
    );
    await assert.rejects(
      exec((socket) => socket.end()),
      code("lost"),
    );
    await assert.rejects(client((socket) => socket.end()).list("/"), code("lost"));
    await assert.rejects(client((socket) => socket.destroy()).writeFile("/f", Buffer.alloc(1 << 20)), code("lost"));
  });
  test("that is longer than a frame may be is refused before it is there", async () => {
    await assert.rejects(
      exec((socket) => socket.write(lie(FRAME_LIMIT_BYTES + 1, Out.STARTED))),
      code("broken"),
    );
    await assert.rejects(
      exec((socket) => socket.write(lie(0xffffffff, Out.ERROR))),
      code("broken"),
    );
  });
  test("of a wrong type or with too few fields is refused", async () => {
    await assert.rejects(
      exec((socket) => socket.write(frame(Out.DONE))),
      code("broken"),
    );
    await assert.rejects(
      exec((socket) => socket.write(frame(Out.STARTED, Buffer.alloc(2)))),
      code("broken"),
    );
    await assert.rejects(client((socket) => socket.write(frame(Out.DONE, Buffer.alloc(3)))).stat("/"), code("broken"));
    await assert.rejects(
      client((socket) => socket.write(frame(Out.DONE, Buffer.alloc(90, 255)))).info(),
      code("broken"),
    );
    await assert.rejects(
      exec((socket) => socket.write(frame(Out.ERROR))),
      code("broken"),
    );
    await assert.rejects(
      exec((socket) => socket.write(new FrameWriter(Out.ERROR).u16(1).u32(2).u32(999).finish())),
      code("broken"),
    );
  });
  test("that refuses has a code and a sentence without control characters", async () => {
    const says = async (bytes: Buffer): Promise<AgentError> => {
      const error: unknown = await exec((socket) => socket.write(bytes)).catch((e: unknown) => e);
      assert.ok(error instanceof AgentError);
      return error;
    };
    const tells = await says(refusal(Refusal.COMMAND_NOT_FOUND, 2, "a\x1b[31m\n"));
    assert.deepEqual(
      [tells.code, tells.message],
      [
        "command-not-found",
        'The command "a?[31m?" was not found in the VM; check its name, the PATH and whether the image has it.',
      ],
    );
    const cases: [number, number, AgentErrorCode][] = [
      [Refusal.SYSTEM, 13, "permission"],
      [Refusal.SYSTEM, 28, "no-space"],
      [Refusal.SYSTEM, 99, "failed"],
      [Refusal.VERSION, 0, "version"],
      [Refusal.LIMIT, 11, "busy"],
      [Refusal.BAD_REQUEST, 0, "failed"],
      [12345, 0, "failed"],
    ];
    for (const [number, errno, expected] of cases) assert.equal((await says(refusal(number, errno))).code, expected);
  });
  test("comes after a connection that can be made", async () => {
    const none: AgentTransport = { connect: () => Promise.reject(new Error("no")), listen: () => () => {} };
    await assert.rejects(new AgentClient(none).stat("/"), code("unreachable"));
    const ended = Object.assign(new Error("it does not run"), { code: "not-running" });
    await assert.rejects(new AgentClient({ ...none, connect: () => Promise.reject(ended) }).stat("/"), ended);
    await assert.rejects(new AgentClient(none).stat("/", { signal: AbortSignal.abort(new Error("mine")) }), /mine/);
  });
});

describe("a command of a hostile agent", { timeout: 30_000 }, () => {
  test("that sends more than the window is ended", async () => {
    const running = await exec((socket) => {
      socket.write(started);
      for (let i = 0; i < 6; i++) socket.write(frame(Out.STDOUT, Buffer.alloc(STREAM_WINDOW_BYTES / 4)));
    });
    await assert.rejects(running.exit, code("broken"));
    await assert.rejects(running.stdout.toArray(), code("broken"));
  });
  test("that floods with frames of nothing, or takes what was not sent, is ended", async () => {
    const wrong: Buffer[][] = [
      [frame(Out.STDOUT), frame(Out.STDOUT, Buffer.from("after its end"))],
      [frame(Out.STDOUT), frame(Out.STDOUT)],
      [new FrameWriter(Out.STDIN_TAKEN).u32(1).finish()],
      [frame(Out.STDIN_TAKEN)],
      [frame(Out.EXIT)],
      [frame(77)],
      [exit, exit],
    ];
    for (const frames of wrong) {
      const running = await exec((socket) => socket.write(Buffer.concat([started, ...frames])));
      await assert.rejects(
        Promise.all([running.exit, running.stdout.toArray(), running.stderr.toArray()]),
        code("broken"),
      );
    }
  });
  test("that goes away without an end is lost, and nobody has to listen", async () => {
    const running = await exec((socket) => {
      socket.write(started);
      socket.end(frame(Out.STDOUT, Buffer.from("some")));
    });
    await assert.rejects(running.exit, code("lost"));
    running.stdin.write("into the void");
    running.kill();
  });
  test("that never takes input holds a window of it at most", async () => {
    let sent = 0;
    const running = await exec((socket) => {
      socket.on("data", (chunk: Buffer) => (sent += chunk.length)).resume();
      socket.write(started);
    });
    for (let i = 0; i < 16; i++) running.stdin.write(Buffer.alloc(64 << 10));
    while (sent < STREAM_WINDOW_BYTES) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(sent < STREAM_WINDOW_BYTES + 1000, `${sent} bytes`);
    assert.ok(running.stdin.writableLength >= (1 << 20) - STREAM_WINDOW_BYTES - (64 << 10));
  });
  test("has the words of its request", async () => {
    let request: { type: number; payload: Buffer } | undefined;
    await exec((socket, given) => {
      request = given;
      socket.write(started);
    });
    assert.equal(request!.type, Op.EXEC);
    assert.equal(request!.payload.readUInt16LE(0), PROTOCOL_VERSION);
    assert.ok(request!.payload.includes("x\0"));
    assert.equal(requestFrame(In.DATA).finish().readUInt16LE(5), PROTOCOL_VERSION);
  });
});

test("a directory without end is refused", { timeout: 30_000 }, async () => {
  const name = "n".repeat(FRAME_LIMIT_BYTES / 2);
  const entry = new FrameWriter(Out.ENTRY).text(name).bytes(Buffer.alloc(32)).text("").finish();
  const flood = (socket: Duplex): void => {
    while (!socket.destroyed && socket.write(entry));
    if (!socket.destroyed) socket.once("drain", () => flood(socket));
  };
  await assert.rejects(client(flood).list("/"), code("broken"));
});

describe("the ready signal", { timeout: 30_000 }, () => {
  const listening = (): { transport: AgentTransport; arrive: (guestPort: number, bytes: Buffer) => Duplex } => {
    let listener: ((socket: Duplex, guestPort: number) => void) | undefined;
    return {
      transport: {
        connect: () => Promise.reject(new Error("no")),
        listen: (port, given) => {
          assert.equal(port, PORT_READY);
          listener = given;
          return () => (listener = undefined);
        },
      },
      arrive: (guestPort, bytes) => {
        const [host, guest] = duplexPair();
        listener!(host, guestPort);
        guest.write(bytes);
        return guest;
      },
    };
  };
  const greeting = (version = PROTOCOL_VERSION): Buffer =>
    new FrameWriter(Out.READY).u16(version).u64(1n).u64(2n).u64(3n).u64(4n).text("a complaint\nanother\n").finish();

  test("tells when the guest was how far, and its end", async () => {
    const { transport, arrive } = listening();
    const agent = new AgentClient(transport);
    const guest = arrive(PORT_READY, greeting());
    assert.deepEqual(await agent.ready(10_000), {
      agentStartedUs: 1,
      modulesLoadedUs: 2,
      rootMountedUs: 3,
      readyUs: 4,
      complaints: ["a complaint", "another"],
    });
    guest.end();
    await agent.lost;
    agent.close();
  });
  test("of a program that is not the agent is not heard", async () => {
    const { transport, arrive } = listening();
    const agent = new AgentClient(transport);
    arrive(1024, greeting());
    await assert.rejects(agent.ready(10), code("timed-out"));
    arrive(PORT_READY, greeting());
    assert.equal((await agent.ready(10_000)).readyUs, 4);
    arrive(PORT_READY, greeting(9));
    assert.equal((await agent.ready(10_000)).readyUs, 4);
  });
  test("of another version, or none at all, is an error", async () => {
    for (const [bytes, expected] of [
      [greeting(9), "version"],
      [frame(Out.READY), "broken"],
      [lie(1 << 30, Out.READY), "broken"],
      [frame(Out.DONE), "broken"],
    ] as const) {
      const { transport, arrive } = listening();
      const agent = new AgentClient(transport);
      arrive(PORT_READY, bytes);
      await assert.rejects(agent.ready(10_000), code(expected));
    }
    const { transport } = listening();
    await assert.rejects(new AgentClient(transport).ready(10), code("timed-out"));
    await assert.rejects(new AgentClient(listening().transport).ready(10_000, AbortSignal.timeout(5)), {
      name: "TimeoutError",
    });
  });
});
