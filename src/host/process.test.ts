/* Programs in a VM whose callers give up, or whose input fails: each is killed, and its caller hears why. */
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { AgentClient } from "../agent/client.ts";
import { fakeTransport } from "../agent/fake-agent.fixture.ts";
import { FrameWriter, In, Out } from "../agent/protocol.ts";
import { execProcess, startProcess } from "./process.ts";

const SIGKILL = 9;
const defaults = { env: {}, user: "", workingDirectory: "/" };
const start = (socket: Duplex): boolean => socket.write(new FrameWriter(Out.STARTED).u32(1).finish());

/** An agent whose program runs until a signal ends it. @param atStart is called when the program is to be started */
function agentOfSleeper(atStart: (socket: Duplex) => void = start): AgentClient {
  const transport = fakeTransport((socket) => {
    socket.on("data", (frame: Buffer) => {
      if (frame[4] !== In.SIGNAL) return;
      socket.write(new FrameWriter(Out.STDOUT).finish());
      socket.write(new FrameWriter(Out.STDERR).finish());
      socket.write(new FrameWriter(Out.EXIT).u8(1).u32(frame.readUInt32LE(5)).finish());
    });
    socket.resume();
    atStart(socket);
  });
  return new AgentClient(transport);
}

describe("a program is killed", { timeout: 10_000 }, () => {
  test("when its caller gave up while it was started", async () => {
    const caller = new AbortController();
    const ended = Promise.withResolvers<void>();
    // It never answers.
    const agent = agentOfSleeper((socket) => {
      socket.on("close", () => ended.resolve());
      caller.abort(new Error("enough"));
    });
    await assert.rejects(startProcess(agent, defaults, ["sleep"], { signal: caller.signal }), /enough/);
    await ended.promise;
  });
  test("when its caller gives up while it runs", async () => {
    const caller = new AbortController();
    const program = await startProcess(agentOfSleeper(), defaults, ["sleep"], { signal: caller.signal });
    caller.abort(new Error("enough"));
    await assert.rejects(program.exit, /enough/);
  });
  test("when its input fails", async () => {
    const stdin = new Readable({ read: () => undefined });
    setImmediate(() => stdin.destroy(new Error("unreadable")));
    await assert.rejects(execProcess(agentOfSleeper(), defaults, ["cat"], { stdin }), /unreadable/);
  });
  test("and that is no error where its caller did it", async () => {
    const program = await startProcess(agentOfSleeper(), defaults, ["sleep"], { timeoutMs: Infinity });
    await setTimeout(20);
    program.kill("SIGKILL");
    assert.deepEqual(await program.exit, { exitCode: 128 + SIGKILL, signal: "SIGKILL" });
  });
  test("a signal that is none is the guest's fault", async () => {
    const agent = agentOfSleeper((socket) => {
      start(socket);
      socket.write(new FrameWriter(Out.EXIT).u8(1).u32(65).finish());
    });
    const program = await startProcess(agent, defaults, ["sleep"]);
    await assert.rejects(program.exit, { code: "broken" });
  });
});
