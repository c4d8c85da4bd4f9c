/* The progress bar on a terminal, and the plain lines elsewhere. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress, renderProgress } from "./progress.ts";

function recorder(isTTY: boolean) {
  const written: string[] = [];
  return { stream: { isTTY, columns: 100, write: (text: string) => written.push(text) }, written };
}

test("a line shows a bar and percent", () => {
  assert.equal(renderProgress("kernel", 0, 27, 100), "kernel  [------------------------]   0%");
  assert.equal(renderProgress("kernel", 13.5, 27, 100), "kernel  [############------------]  50%");
  assert.equal(renderProgress("kernel", 27, 27, 100), "kernel  [########################] 100%");
});

test("a line survives bad numbers and narrow terminals", () => {
  assert.equal(renderProgress("kernel", 0, 0, 100), "kernel …");
  assert.equal(renderProgress("kernel", 3, 0, 100), "kernel … 3");
  assert.equal(renderProgress("kernel", 3, Number.NaN, 100), "kernel … 3");
  assert.match(renderProgress("kernel", 30, 27, 100), / 100%/);
  assert.match(renderProgress("kernel", -1, 27, 100), / 0%/);
  assert.equal(renderProgress("kernel", 1, 2, 10).length, 10);
});

test("a terminal gets one line that is redrawn at most ten times a second, and is clean at the end", () => {
  const { stream, written } = recorder(true);
  let now = 0;
  const progress = new Progress(stream, () => now);
  for (let done = 0; done < 1000; done++, now += 1) progress.update("kernel", done, 1000);
  progress.update("kernel", 1000, 1000);
  progress.end();
  assert.equal(written.length, 12);
  assert.ok(written.every((text) => text.startsWith("\r\u001b[K") && !text.includes("\n")));
  assert.match(written.at(-2) ?? "", /100%/);
  assert.equal(written.at(-1), "\r\u001b[K");
});

test("a pipe gets a line at the start and one at the end of each piece of work", () => {
  const { stream, written } = recorder(false);
  const progress = new Progress(stream);
  for (let done = 0; done <= 10; done++) progress.update("list", done, 10);
  progress.update("kernel", 5, 5);
  progress.end();
  progress.end();
  progress.update("build", 5, 0);
  progress.end("not finished");
  const said = ["list …", "list: done", "kernel …", "kernel: done", "build …", "build: not finished"];
  assert.deepEqual(
    written,
    said.map((line) => `${line}\n`),
  );
});
