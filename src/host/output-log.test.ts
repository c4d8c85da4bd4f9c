/* The log of a main process: any bytes, both streams in order, followed while it grows, bounded. */
import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type LogEntry, OutputLog, readLog } from "./output-log.ts";

let directory = "";
before(async () => (directory = await mkdtemp(join(tmpdir(), "mere-log-"))));
after(() => rm(directory, { recursive: true, force: true }));

async function all(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const list: LogEntry[] = [];
  for await (const entry of entries) list.push(entry);
  return list;
}
const over = Promise.resolve();

test("bytes come out as they went in, in order, with their stream and time", async () => {
  const path = join(directory, "a");
  const log = new OutputLog(path);
  const before = Date.now();
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await log.append("stdout", bytes);
  await log.append("stderr", Buffer.from("oh\n"));
  await log.append("stdout", new Uint8Array(0));
  await log.close();
  const entries = await all(readLog(path, {}, over));
  assert.deepEqual(
    entries.map(({ stream }) => stream),
    ["stdout", "stderr"],
  );
  assert.deepEqual(Buffer.from(entries[0].bytes), Buffer.from(bytes));
  assert.ok(entries[0].time.getTime() >= before && entries[0].time.getTime() <= Date.now());
});

test("a follower gets what comes and ends with the VM", async () => {
  const path = join(directory, "b");
  const log = new OutputLog(path);
  await log.append("stdout", Buffer.from("one"));
  const ended = Promise.withResolvers<void>();
  const entries = readLog(path, { follow: true }, ended.promise);
  const seen: string[] = [];
  for await (const { bytes } of entries) {
    seen.push(Buffer.from(bytes).toString());
    if (seen.length === 1) await log.append("stderr", Buffer.from("two"));
    if (seen.length === 2) {
      await log.append("stdout", Buffer.from("three"));
      await log.close();
      ended.resolve();
    }
  }
  assert.deepEqual(seen, ["one", "two", "three"]);
});

test("a follower can be stopped", async () => {
  const path = join(directory, "c");
  const log = new OutputLog(path);
  await log.append("stdout", Buffer.from("x"));
  const stop = new AbortController();
  const count = { entries: 0 };
  for await (const _ of readLog(path, { follow: true, signal: stop.signal }, new Promise(() => undefined))) {
    count.entries++;
    stop.abort();
  }
  assert.equal(count.entries, 1);
  await log.close();
});

test("an entry that was cut off is left out; no log is an empty one", async () => {
  const path = join(directory, "d");
  const log = new OutputLog(path);
  await log.append("stdout", Buffer.from("whole"));
  await log.append("stdout", Buffer.from("broken"));
  await log.close();
  await truncate(path, (await stat(path)).size - 2);
  assert.equal((await all(readLog(path, {}, over))).length, 1);
  await appendFile(path, "zz");
  assert.equal((await all(readLog(path, {}, over))).length, 2);
  assert.deepEqual(await all(readLog(join(directory, "none"), {}, over)), []);
});

test("a log does not grow without bound, and keeps its end", async () => {
  const path = join(directory, "e");
  const log = new OutputLog(path);
  const piece = Buffer.alloc(4 << 20, "x");
  for (let i = 0; i < 40; i++) await log.append("stdout", piece);
  await log.append("stdout", Buffer.from("the end"));
  await log.close();
  const sizes = await Promise.all([path, `${path}.1`].map(async (file) => (await stat(file)).size));
  assert.ok(sizes[0] + sizes[1] < 80 << 20, String(sizes));
  assert.equal(Buffer.from((await all(readLog(path, {}, over))).at(-1)!.bytes).toString(), "the end");
});

test("streams that append at once lose nothing when the file is turned over, and a follower sees all, also of a log that is removed", async () => {
  const home = join(directory, "f");
  await mkdir(home);
  const path = join(home, "log");
  const ended = Promise.withResolvers<void>();
  const seen: string[] = [];
  const followed = (async () => {
    for await (const { bytes } of readLog(path, { follow: true }, ended.promise))
      seen.push(Buffer.from(bytes).toString("latin1", 0, 8));
  })();
  const log = new OutputLog(path);
  const wanted: string[] = [];
  for (let round = 0; round < 5; round++) {
    const pieces = ["stdout", "stderr"].map((stream) => ({
      stream,
      bytes: Buffer.alloc(4 << 20, `${stream} ${round} `),
    }));
    wanted.push(...pieces.map(({ bytes }) => bytes.toString("latin1", 0, 8)));
    await Promise.all(pieces.map(({ stream, bytes }) => log.append(stream as "stdout", bytes)));
  }
  await log.append("stdout", Buffer.from("the end."));
  while (!seen.includes("the end.")) await setTimeout(5);
  await log.append("stderr", Buffer.from("no more."));
  await log.close();
  await rm(home, { recursive: true });
  ended.resolve();
  await followed;
  assert.deepEqual(seen, [...wanted, "the end.", "no more."]);
});

test("a follower of a log that never comes ends with the VM", async () => {
  assert.deepEqual(await all(readLog(join(directory, "never"), { follow: true }, setTimeout(50))), []);
  assert.deepEqual(await all(readLog(join(directory, "no", "where"), { follow: true }, setTimeout(50))), []);
});

test("nothing is left on the file when much is appended", async () => {
  const warnings: Error[] = [];
  const warn = (warning: Error): unknown => warnings.push(warning);
  process.on("warning", warn);
  const log = new OutputLog(join(directory, "g"));
  for (let i = 0; i < 50; i++) await log.append("stdout", Buffer.alloc(64 << 10));
  await log.close();
  await setTimeout(10);
  process.off("warning", warn);
  assert.deepEqual(warnings, []);
});
