import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isInUse, lock, tryLock } from "./lock.ts";
import { createOverlay, openOverlay } from "./overlay.ts";
import { openRawDisk } from "./raw.ts";

const folder = mkdtempSync(join(tmpdir(), "mere-lock-"));
after(() => rmSync(folder, { recursive: true }));
function image(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(8192));
  return path;
}
/** A process of its own that opens a disk and keeps it. */
async function holder(path: string, options: { readOnly?: boolean; flags?: string[] } = {}): Promise<ChildProcess> {
  const source = `
    const { openRawDisk } = await import(${JSON.stringify(new URL("./raw.ts", import.meta.url).href)});
    globalThis.disk = await openRawDisk(${JSON.stringify(path)}, { readOnly: ${options.readOnly ?? false} });
    console.log("holds");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, [...(options.flags ?? []), "--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout!, "data");
  return child;
}
async function kill(child: ChildProcess): Promise<void> {
  const end = once(child, "exit");
  child.kill("SIGKILL");
  await end;
}

test("one writer or many readers, within a process", async () => {
  const path = image("within");
  const writer = await openRawDisk(path);
  await assert.rejects(openRawDisk(path), { code: "in-use", message: /in use by this process: stop the VM/ });
  await assert.rejects(openRawDisk(path, { readOnly: true }), { code: "in-use" });
  await writer.close();
  const readers = [await openRawDisk(path, { readOnly: true }), await openRawDisk(path, { readOnly: true })];
  await assert.rejects(openRawDisk(path), { code: "in-use", message: /read-only \(,ro\) everywhere/ });
  for (const reader of readers) await reader.close();
  await (await openRawDisk(path)).close();
});

for (const [name, flags] of [
  ["the call", []],
  ["util-linux's flock", ["--no-experimental-ffi"]],
] as const)
  test(`a lock of another process, taken with ${name}, holds until it dies`, async () => {
    const path = image(`between-${flags.length}`);
    const child = await holder(path, { flags: [...flags] });
    const words = flags.length === 0 ? new RegExp(`in use by process ${child.pid!}: `) : /in use by/;
    await assert.rejects(openRawDisk(path), { code: "in-use", message: words });
    await kill(child);
    await (await openRawDisk(path)).close();
    const reader = await holder(path, { readOnly: true, flags: [...flags] });
    await assert.rejects(openRawDisk(path), { code: "in-use" });
    await (await openRawDisk(path, { readOnly: true })).close();
    await kill(reader);
  });

test("an overlay holds its base for reading", async () => {
  const base = image("base");
  const path = join(folder, "overlay");
  await createOverlay(path, { base });
  const disk = await openOverlay(path);
  const other = await openRawDisk(base, { readOnly: true });
  await other.close();
  await assert.rejects(openRawDisk(base), { code: "in-use" });
  await assert.rejects(openOverlay(path), { code: "in-use" });
  await disk.close();
  await (await openRawDisk(base)).close();
});

test("who only asks gets an answer and holds nothing", async () => {
  const path = image("asked");
  const files: FileHandle[] = [await open(path), await open(path)];
  const [a, b] = files.map((file) => file.fd) as [number, number];
  assert.equal(isInUse(a), false);
  lock(b, "shared", path);
  assert.equal(isInUse(a), true);
  assert.equal(tryLock(a, "shared", path), true);
  assert.equal(tryLock(a, "exclusive", path), false);
  for (const file of files) await file.close();
});
