/* A program's streams on this process's: nothing is left on them, and a VM that ends is told once. */
import assert from "node:assert/strict";
import { PassThrough, Readable, Writable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { test } from "node:test";
import { attachProcess, copy } from "./attach-process.ts";

const options = { stdin: false, tty: false, leave: () => undefined };

test("output that is taken slowly leaves no listeners behind", async () => {
  let taken = 0;
  const slow = new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _, done) => {
      taken += chunk.length;
      setImmediate(done);
    },
  });
  const listeners = (): number[] => ["drain", "close", "error"].map((event) => slow.listenerCount(event));
  const before = listeners();
  await copy(Readable.from(Array.from({ length: 20 }, () => Buffer.alloc(10))), slow);
  assert.equal(taken, 200);
  assert.deepEqual(listeners(), before);
});

test("what is printed after standard output broke is dropped", async () => {
  const broken = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => done(new Error("EPIPE")) });
  broken.on("error", () => undefined);
  await copy(Readable.from(Array.from({ length: 20 }, () => Buffer.alloc(10))), broken);
});

test("a VM that ends under a program is one error", { timeout: 5000 }, async () => {
  const lost = new Error("lost");
  const exit = Promise.withResolvers<never>();
  const program = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    exit: exit.promise,
    kill: () => undefined,
    resize: () => undefined,
  };
  const attached = attachProcess(program, options);
  exit.reject(lost);
  program.stdout.destroy(lost);
  program.stderr.destroy(lost);
  await assert.rejects(attached, lost);
  // An unhandled rejection fails the test.
  await setTimeout(20);
});
