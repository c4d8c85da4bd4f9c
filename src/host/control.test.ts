/* The control socket: requests, streams, peers that do not keep to the rules. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { createServer, connect as connectSocket, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { ControlClient, ControlServer, type VmLink } from "./control.ts";
import { HostError } from "./host-error.ts";

let directory = "";
before(async () => (directory = await mkdtemp(join(tmpdir(), "mere-control-"))));
after(() => rm(directory, { recursive: true, force: true }));

/** Answers its arguments; port 7 echoes. */
const echo: VmLink = {
  connect: async (port) => {
    if (port !== 7) throw new HostError("unreachable", `nobody at ${port}`);
    const pipe = new PassThrough();
    return pipe;
  },
  request: async (op, args) => {
    if (op === "fail") throw new HostError("timeout", "too late");
    return { op, args };
  },
};

async function withServer(name: string, work: (client: ControlClient, path: string) => Promise<void>): Promise<void> {
  const path = join(directory, name);
  await mkdir(dirname(path), { recursive: true });
  const server = await ControlServer.listen(path, echo);
  try {
    await work(new ControlClient(path), path);
  } finally {
    await server.close();
  }
  await assert.rejects(stat(path), "the socket is gone");
}
const code = (wanted: string) => (error: unknown) => error instanceof HostError && error.code === wanted;

test("a request has an answer, and an error its code and sentence", () =>
  withServer("a.sock", async (client) => {
    assert.deepEqual(await client.request("x", { y: 1 }), { op: "x", args: { y: 1 } });
    await assert.rejects(client.request("fail"), { code: "timeout", message: "too late" });
  }));

test("a stream carries every byte both ways, and each half closes", () =>
  withServer("b.sock", async (client) => {
    const stream = await client.connect(7);
    const bytes = Buffer.alloc(3_000_000, "0123456789");
    stream.end(bytes);
    assert.ok((await buffer(stream)).equals(bytes));
    await assert.rejects(client.connect(8), { message: "nobody at 8" });
  }));

test("who gives up a stream that does not come hears so at once, and the VM too", async () => {
  const path = join(directory, "g.sock");
  const asked = Promise.withResolvers<void>();
  const givenUp = Promise.withResolvers<void>();
  const server = await ControlServer.listen(path, {
    ...echo,
    // A guest that hangs.
    connect: (_port, { signal } = {}) =>
      new Promise((_resolve, reject) => {
        signal!.addEventListener("abort", () => {
          givenUp.resolve();
          reject(signal!.reason as Error);
        });
        asked.resolve();
      }),
  });
  const abort = new AbortController();
  const reason = new Error("no more");
  const stream = new ControlClient(path).connect(7, { signal: abort.signal });
  await asked.promise;
  abort.abort(reason);
  await assert.rejects(stream, reason);
  await givenUp.promise;
  await assert.rejects(new ControlClient(path).connect(7, { signal: abort.signal }), reason);
  await server.close();
});

test("a stream that was given is not the signal's any more", () =>
  withServer("h.sock", async (client) => {
    const abort = new AbortController();
    const stream = await client.connect(7, { signal: abort.signal });
    abort.abort();
    stream.end("still");
    assert.equal(await text(stream), "still");
  }));

test("the path may be as long as file systems allow", () =>
  withServer(`${"d".repeat(150)}/control.sock`, async (client) => {
    assert.deepEqual(await client.request("x"), { op: "x", args: {} });
  }));

test("nobody there is a VM that does not run", async () => {
  await assert.rejects(new ControlClient(join(directory, "none")).request("x"), code("not-running"));
});

test("what is no request is answered or dropped, and others go on", () =>
  withServer("c.sock", async (client, path) => {
    const say = async (words: string): Promise<string> => {
      const socket = connectSocket(path);
      socket.on("error", () => undefined);
      socket.end(words);
      return text(socket).catch(() => "");
    };
    assert.match(await say("hello\n"), /"unreachable"/);
    assert.match(await say("null\n"), /"unreachable"/);
    assert.match(await say('{"op": 5}\n'), /"unreachable"/);
    assert.equal(await say("no end"), "");
    assert.equal(await say("x".repeat(3 << 20)), "");
    assert.deepEqual(await client.request("x"), { op: "x", args: {} });
  }));

test("who says nothing, or takes nothing, does not hold up the end", async () => {
  const path = join(directory, "e.sock");
  const server = await ControlServer.listen(path, {
    ...echo,
    request: async () => ({ much: "x".repeat(64 << 20) }),
  });
  const clients = ["", '{"op": "x"}\n', '{"op": "connect", "port": 7}\n'].map((words) => {
    const socket = connectSocket(path).on("error", () => undefined);
    socket.write(words);
    return socket.pause();
  });
  await Promise.all(clients.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  await setTimeout(200);
  await server.close();
  clients.forEach((socket) => socket.destroy());
});

test("a server that answers nonsense, or hangs up, is an error with a code", async () => {
  const path = join(directory, "d.sock");
  const answers = ["nonsense\n", "{}\n", '{"error": 5}\n', "", "y".repeat(2 << 20)];
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.resume();
    socket.end(answers.shift() ?? "");
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = new ControlClient(path);
  for (const wanted of ["unreachable", "unreachable", "unreachable", "not-running", "not-running"])
    await assert.rejects(client.request("x"), code(wanted));
  server.close();
});
