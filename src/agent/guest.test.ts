/* The agent's program itself: what compilers say of it, and what it does with a host that breaks the protocol. Run natively, with traps for undefined behaviour. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import type { Duplex } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { runCommand } from "../image/command.ts";
import { type NativeAgent, startNativeAgent } from "./native-agent.fixture.ts";
import { FRAME_LIMIT_BYTES, FrameWriter, In, Op, Out, PORT_AGENT, Refusal } from "./protocol.ts";
import { requestFrame } from "./requests.ts";

const SOURCES = fileURLToPath(new URL("./guest/", import.meta.url));
const files = readdirSync(SOURCES)
  .filter((name) => name.endsWith(".c"))
  .map((name) => join(SOURCES, name));
const FREESTANDING = ["-std=c11", "-O1", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-pie"];
const LINK = ["-no-pie", "-nostdlib", "-static"];
const TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-fno-sanitize=alignment"];

const work = mkdtempSync(join(tmpdir(), "mere-agent-gcc-"));
const program = join(work, "agent");
let agent: NativeAgent;
before(async () => {
  const { status, stderr } = await runCommand("gcc", [...FREESTANDING, ...TRAPS, ...LINK, "-o", program, ...files]);
  assert.deepEqual([status, stderr], [0, ""]);
  agent = await startNativeAgent(program);
});
after(async () => {
  await agent.stop();
  rmSync(work, { recursive: true, force: true });
});

/** Sends bytes as a whole connection. @returns what the agent answers before it closes */
async function answer(...bytes: Uint8Array[]): Promise<Buffer> {
  const socket: Duplex = await agent.transport.connect(PORT_AGENT, {});
  socket.on("error", () => {});
  socket.end(Buffer.concat(bytes));
  return buffer(socket).catch(() => Buffer.alloc(0));
}
/** The code of the error that the agent answers with. */
const refusal = async (...bytes: Uint8Array[]): Promise<number> => {
  const got = await answer(...bytes);
  assert.equal(got[4], Out.ERROR, got.toString("hex").slice(0, 100));
  return got.readUInt16LE(5);
};

describe("the agent's program", { timeout: 120_000 }, () => {
  test("compiles without a warning, also of the analyzer", async () => {
    const checks = ["-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-fanalyzer", "-Werror"];
    const { status, stderr } = await runCommand("gcc", [
      ...FREESTANDING,
      ...checks,
      ...LINK,
      "-o",
      join(work, "checked"),
      ...files,
    ]);
    assert.deepEqual([status, stderr], [0, ""]);
  });

  test("refuses what is no request", async () => {
    assert.equal(await refusal(requestFrame(200).finish()), Refusal.BAD_REQUEST);
    assert.equal(await refusal(new FrameWriter(Op.EXEC).u16(9).finish()), Refusal.VERSION);
    assert.equal(await refusal(new FrameWriter(Op.STAT).finish()), Refusal.BAD_REQUEST);
    const bare: readonly number[] = [Op.SYNC, Op.INFO, Op.FREEZE];
    for (const op of Object.values(Op).filter((number) => !bare.includes(number)))
      assert.equal(await refusal(requestFrame(op).finish()), Refusal.BAD_REQUEST, `operation ${op}`);
    assert.equal(await refusal(requestFrame(Op.FREEZE).finish()), Refusal.SYSTEM, "a test's root stays as it is");
    assert.equal((await answer(Buffer.from([0xff, 0xff, 0xff, 0x7f, Op.EXEC]), Buffer.alloc(1000))).length, 0);
    assert.equal((await answer(Buffer.from([1, 2]))).length, 0);
  });

  test("reads no text beyond its frame", async () => {
    const stat = requestFrame(Op.STAT);
    assert.equal(await refusal(stat.u32(0xffffffff).finish()), Refusal.BAD_REQUEST);
    assert.equal(
      await refusal(requestFrame(Op.STAT).u32(3).bytes(Buffer.from("abcd")).u8(0).finish()),
      Refusal.BAD_REQUEST,
    );
    assert.equal(
      await refusal(requestFrame(Op.STAT).u32(3).bytes(Buffer.from("a\0c\0")).u8(0).finish()),
      Refusal.BAD_REQUEST,
    );
    assert.equal(
      await refusal(requestFrame(Op.EXEC).u8(0).u16(0).u16(0).text("").text("").u32(0xffffffff).finish()),
      Refusal.BAD_REQUEST,
    );
    const long = "x".repeat(FRAME_LIMIT_BYTES - 100);
    assert.equal(await refusal(requestFrame(Op.STAT).text(long).u8(0).finish()), Refusal.SYSTEM);
    assert.equal(await refusal(requestFrame(Op.WRITE).text(long).u32(0).u32(0).u32(0).u32(0).finish()), Refusal.SYSTEM);
  });

  test("ends an operation whose frames are out of order", async () => {
    const exec = requestFrame(Op.EXEC)
      .u8(0)
      .u16(0)
      .u16(0)
      .text("")
      .text("")
      .u32(2)
      .text("/bin/sleep")
      .text("1000")
      .u32(0)
      .finish();
    const socket = await agent.transport.connect(PORT_AGENT, {});
    socket.write(Buffer.concat([exec, new FrameWriter(In.DATA).finish()]));
    assert.equal((await buffer(socket))[4], Out.STARTED);
    const copy = requestFrame(Op.COPY_IN).text(join(work, "tree")).finish();
    assert.equal(await refusal(copy, new FrameWriter(In.DATA).u8(1).finish()), Refusal.BAD_REQUEST);
    const climbing = new FrameWriter(In.ENTRY).text("../x").bytes(Buffer.alloc(32)).text("").finish();
    assert.equal(await refusal(copy, climbing), Refusal.BAD_REQUEST);
  });

  test("survives whatever bytes come", async () => {
    const frame = fc
      .tuple(fc.integer({ min: 0, max: 150 }), fc.uint8Array({ maxLength: 200 }))
      // Nothing is run or made by chance: no command has a name, no path is absolute.
      .map(([type, bytes]) =>
        new FrameWriter(type)
          .u16(1)
          .bytes(bytes.map((byte) => (byte === 0x2f ? 0 : byte)))
          .finish(),
      );
    await fc.assert(
      fc.asyncProperty(
        fc.array(frame, { minLength: 1, maxLength: 4 }),
        async (frames) => void (await answer(...frames)),
      ),
      { numRuns: 150 },
    );
    const exec = await agent.client.exec({ command: ["echo", "still", "there"] });
    assert.equal(await text(exec.stdout), "still there\n");
  });

  test("has a limit to what it does at once, and goes on after it", async () => {
    const { pid } = agent.process;
    const workers = (): number =>
      readFileSync(`/proc/${pid!}/task/${pid!}/children`, "utf8")
        .split(" ")
        .filter((word) => word !== "").length;
    const idle: Duplex[] = [];
    while (idle.length < 270) {
      idle.push(await agent.transport.connect(PORT_AGENT, {}));
      // The kernel keeps only so many that were not accepted yet.
      if (idle.length % 32 === 0) while (workers() < Math.min(idle.length, 256)) await setImmediate();
    }
    const waiting = agent.client.exec({ command: ["echo", "my turn"] });
    assert.equal(workers(), 256);
    for (const socket of idle) socket.destroy();
    assert.equal(await text((await waiting).stdout), "my turn\n");
  });
});
