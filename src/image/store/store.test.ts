/* The store: names, uses, removal, and what processes that die leave behind. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { ImageError, type ImageErrorCode } from "../image-error.ts";
import { buildImage, changedConfig, ensureImage, holdImage, listImages, removeImage, useImage } from "../images.ts";
import { digest } from "../oci/test-registry.ts";
import { copyRaw } from "../../disk/merge.ts";
import { commitImage, digestOf } from "./commit.ts";
import { isLock, tryLock, waitForLock } from "./file-lock.ts";
import { findImage } from "./find.ts";
import { makeImage } from "./make.ts";
import { imageDirectory, nameImage, readImage } from "./records.ts";
import { EMPTY_CONFIG, type ImageConfig, type StoredImage } from "./stored-image.ts";
import { inWorkDirectory } from "./work-directory.ts";

let home = "";
const children: ChildProcess[] = [];
const places = (): { dataDir: string; cacheDir: string } => ({
  dataDir: join(home, "data"),
  cacheDir: join(home, "cache"),
});

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mere-store-"));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, "close") : undefined;
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(home, { recursive: true });
});

/** Starts a process that runs a script as a module of this folder and writes a line when it has done what it is for; then it stays. */
async function start(script: string): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    ["--input-type=module-typescript", "-e", `${script}\nconsole.log("ready"); setInterval(() => {}, 1000);`],
    {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  children.push(child);
  await once(child.stdout!, "data");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "close");
}

function here(file: string): string {
  return JSON.stringify(join(import.meta.dirname, file));
}

/** Puts an image into the store whose root disk is `text`. */
async function put(text: string, name?: string, config: ImageConfig = EMPTY_CONFIG): Promise<StoredImage> {
  const id = digestOf([text, config]);
  const build = async ({
    output,
  }: {
    output: string;
  }): Promise<{ sizeBytes: number; usedBytes: number; files: number }> => {
    writeFileSync(output, text);
    return { sizeBytes: text.length, usedBytes: text.length, files: 1 };
  };
  await makeImage({ id, config, content: [] }, { ...places(), buildRoot: build });
  return name === undefined ? (await readImage(id, places()))! : nameImage(id, name, places());
}

function failsWith(code: ImageErrorCode, sentence: RegExp, work: Promise<unknown>): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.deepEqual([error.code, sentence.test(error.message)], [code, true], error.message);
    return true;
  });
}

describe("names", () => {
  test("several may mean one image; a name may move to another", async () => {
    const first = await put("one", "a:1");
    await nameImage(first.id, "a:2", places());
    assert.deepEqual((await readImage(first.id, places()))!.names, ["a:1", "a:2"]);
    const second = await put("two", "a:2");
    assert.deepEqual((await readImage(first.id, places()))!.names, ["a:1"]);
    assert.deepEqual(second.names, ["a:2"]);
    assert.deepEqual((await listImages(places())).flatMap(({ names }) => names).toSorted(), ["a:1", "a:2"]);
  });

  test("find images, as do ids and their beginnings; without a registry, too", async () => {
    const image = await put("one", "nginx:latest");
    for (const text of [
      "nginx",
      "library/nginx",
      "nginx:latest",
      image.id,
      image.id.slice(7, 19),
      image.id.slice(0, 30),
    ])
      assert.equal((await findImage(text, places()))?.image.id, image.id, text);
    assert.equal((await ensureImage("nginx", { ...places(), pull: "missing" })).id, image.id);
    assert.equal((await ensureImage(image.id, { ...places(), pull: "always" })).id, image.id);
    assert.equal(await findImage("nginx:1", places()), undefined);
  });

  test("that the store does not have are not asked for where that is not wanted", async () => {
    await failsWith(
      "not-found",
      /has no image nginx; .*mere image pull nginx/,
      ensureImage("nginx", { ...places(), pull: "never" }),
    );
    await failsWith("not-found", /has no image sha256/, ensureImage(`sha256:${"0".repeat(64)}`, places()));
    await failsWith("bad-reference", /names no image/, ensureImage("../x", places()));
  });

  test("an id whose beginning is another's too must be longer", async () => {
    await put("one");
    const [{ id }] = await listImages(places());
    const other = `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}`;
    mkdirSync(imageDirectory(other!, places()), { recursive: true });
    const record = JSON.parse(readFileSync(join(imageDirectory(id!, places()), "image.json"), "utf8")) as object;
    writeFileSync(join(imageDirectory(other!, places()), "image.json"), JSON.stringify({ ...record, id: other }));
    await failsWith("ambiguous", /write more digits/, findImage(id!.slice(7, 30), places()));
  });
});

describe("an image", () => {
  test("is for reading only, and whole or not there", async () => {
    const image = await put("one", "a:1");
    assert.equal(statSync(image.rootDisk).mode & 0o777, 0o444);
    await assert.rejects(
      makeImage(
        { id: digestOf(1), config: EMPTY_CONFIG, content: [] },
        {
          ...places(),
          buildRoot: async ({ output }) => {
            writeFileSync(output, "half");
            throw new Error("broken");
          },
        },
      ),
      /broken/,
    );
    assert.deepEqual(
      (await listImages(places())).map(({ id }) => id),
      [image.id],
    );
    assert.deepEqual(readdirSync(join(home, "data/images")).sort(), ["by-id", "names"]);
  });

  test("with a damaged or newer record is passed over", async () => {
    const image = await put("one", "a:1");
    const record = join(imageDirectory(image.id, places()), "image.json");
    for (const text of ["{", "null", '{"format":2}']) {
      writeFileSync(record, text);
      assert.deepEqual(await listImages(places()), []);
      assert.equal(await findImage("a:1", places()), undefined);
    }
  });

  test("goes with its last name, or with its id", async () => {
    const image = await put("one", "a:1");
    await nameImage(image.id, "a:2", places());
    assert.deepEqual(await removeImage("a:1", places()), {
      image: { ...image, names: ["a:1", "a:2"] },
      names: ["a:1"],
      removed: false,
    });
    assert.equal((await removeImage("a:2", places())).removed, true);
    assert.deepEqual(readdirSync(join(home, "data/images/by-id")), []);
    assert.deepEqual(readdirSync(join(home, "data/images/names")), []);
    const second = await put("two", "b:1");
    await nameImage(second.id, "b:2", places());
    assert.deepEqual((await removeImage(second.id.slice(7, 20), places())).names, ["b:1", "b:2"]);
    await failsWith("not-found", /has no image b:1/, removeImage("b:1", places()));
  });
});

describe("an image in use", () => {
  test("is not removed, by this process or another, until it is released", async () => {
    const image = await put("one", "a:1");
    const [first, second] = [await useImage(image), await useImage(image)];
    first();
    first();
    await failsWith(
      "in-use",
      new RegExp(`used by the VM of process ${process.pid}; stop it`),
      removeImage("a:1", places()),
    );
    assert.deepEqual((await readImage(image.id, places()))!.names, ["a:1"]);
    second();
    assert.equal((await removeImage("a:1", places())).removed, true);
    await failsWith("not-found", /has been removed/, useImage(image));
  });

  test("can be removed once the process that used it was killed", async () => {
    const image = await put("one", "a:1");
    const child = await start(`import { useImage } from ${here("use.ts")}; await useImage(${JSON.stringify(image)});`);
    await failsWith("in-use", new RegExp(`process ${String(child.pid)}`), removeImage("a:1", places()));
    assert.equal(readFileSync(image.rootDisk, "utf8"), "one");
    await kill(child);
    assert.equal((await removeImage("a:1", places())).removed, true);
  });

  test("by a VM that is stopped stays as long as its directory exists", async () => {
    const image = await put("one", "a:1");
    const vm = join(home, "vm");
    mkdirSync(vm);
    await holdImage(image, vm);
    await failsWith("in-use", /root of a VM that is stopped \(.*\/vm\); remove the VM/, removeImage("a:1", places()));
    rmSync(vm, { recursive: true });
    assert.equal((await removeImage("a:1", places())).removed, true);
  });
});

describe("a process that was killed", () => {
  test("leaves work that the next removes, while that of the living stays", async () => {
    const parent = join(home, "work");
    const script = `import { inWorkDirectory } from ${here("work-directory.ts")}; import { writeFileSync } from "node:fs";
      await new Promise((resolve) => void inWorkDirectory(${JSON.stringify(parent)}, async (work) => { writeFileSync(work + "/file", "x"); resolve(undefined); return new Promise(() => {}); }));`;
    const [dead, living] = [await start(script), await start(script)];
    assert.equal(readdirSync(parent).length, 2);
    await kill(dead);
    await inWorkDirectory(parent, async (work) => assert.ok(existsSync(work)));
    assert.equal(readdirSync(parent).length, 1);
    await kill(living);
    await inWorkDirectory(parent, async () => {});
    assert.deepEqual(readdirSync(parent), []);
  });

  test("frees its locks", async () => {
    const path = join(home, "lock");
    const child = await start(
      `import { tryLock } from ${here("file-lock.ts")}; tryLock(${JSON.stringify(path)}, "exclusive");`,
    );
    assert.deepEqual(tryLock(path, "shared"), { pid: child.pid });
    const waiting = waitForLock(path, "exclusive");
    await kill(child);
    (await waiting)!.release();
  });
});

test("a lock whose file was replaced does not count", async () => {
  const path = join(home, "lock");
  assert.equal(tryLock(path, "shared"), "missing");
  assert.equal(tryLock(join(home, "none/lock"), "exclusive"), "missing");
  const lock = tryLock(path, "exclusive");
  assert.ok(isLock(lock));
  const waiting = waitForLock(path, "shared");
  rmSync(path);
  lock.release();
  assert.equal(await waiting, undefined);
  const controller = new AbortController();
  const held = tryLock(path, "exclusive");
  const aborted = waitForLock(path, "exclusive", controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(aborted, /enough|aborted/);
  assert.ok(isLock(held));
  held.release();
});

describe("images of one's own", () => {
  test("have another configuration and the same disk", async () => {
    const base = await put("one", "a:1", {
      ...EMPTY_CONFIG,
      entrypoint: ["/e"],
      cmd: ["c"],
      env: ["A=1", "B=2"],
      labels: { x: "1" },
    });
    const changes = { entrypoint: ["/f"], env: ["B=3", "C=4"], labels: { y: "2" } };
    const image = await buildImage("web:1", "a:1", changes, places());
    assert.deepEqual(image.config, {
      ...base.config,
      entrypoint: ["/f"],
      cmd: [],
      env: ["A=1", "B=3", "C=4"],
      labels: { x: "1", y: "2" },
    });
    assert.deepEqual(image.names, ["web:1"]);
    assert.equal(statSync(image.rootDisk).ino, statSync(base.rootDisk).ino);
    assert.equal((await buildImage("web:2", "a:1", changes, places())).id, image.id);
    await removeImage("a:1", places());
    assert.equal(readFileSync(image.rootDisk, "utf8"), "one");
  });

  test("an entrypoint takes the words of the image's away, words alone leave it", () => {
    const config = { ...EMPTY_CONFIG, entrypoint: ["/e"], cmd: ["c"] };
    assert.deepEqual(changedConfig(config, { cmd: ["d"] }), { ...config, cmd: ["d"] });
    assert.deepEqual(changedConfig(config, { entrypoint: [], cmd: ["d"] }), { ...config, entrypoint: [], cmd: ["d"] });
  });

  test("cannot take the names that mean others", async () => {
    await put("one", "a:1");
    for (const name of ["debian", "debian:curl", `a@${digest(Buffer.from("x"))}`])
      await failsWith("bad-reference", /cannot be given/, buildImage(name, "a:1", {}, places()));
  });

  test("are made of a root disk, once for the same bytes", async () => {
    const disk = join(home, "disk.ext4");
    writeFileSync(disk, "no file system".padEnd(4096));
    const commit = {
      writeDisk: (to: string) => copyRaw(disk, to),
      config: { ...EMPTY_CONFIG, cmd: ["a"] },
      name: "mine:1",
    };
    await failsWith("damaged-image", /no ext4 file system/, commitImage(commit, places()));
    const failing = { ...commit, writeDisk: () => Promise.reject(new Error("no disk")) };
    await assert.rejects(commitImage(failing, places()), /no disk/);
    assert.deepEqual(await listImages(places()), []);
    const bytes = Buffer.alloc(8 << 20);
    bytes[5 << 20] = 1;
    bytes.writeUInt32LE(256, 0x404); // blocks, of 4 KiB
    bytes.writeUInt32LE(200, 0x40c); // of which are free
    bytes.writeUInt32LE(2, 0x418);
    bytes.writeUInt16LE(0xef53, 0x438);
    writeFileSync(disk, bytes);
    const image = await commitImage(commit, places());
    assert.deepEqual(
      [image.names, image.sizeBytes, image.usedBytes, image.config.cmd],
      [["mine:1"], 8 << 20, 56 * 4096, ["a"]],
    );
    assert.deepEqual(readFileSync(image.rootDisk), bytes);
    assert.equal((await commitImage({ ...commit, name: "mine:2" }, places())).id, image.id);
    // Neither holes nor the way there make another image, but what is in it does.
    const whole = async (to: string): Promise<void> => writeFileSync(to, bytes);
    assert.equal((await commitImage({ ...commit, writeDisk: whole }, places())).id, image.id);
    bytes[6 << 20] = 1;
    assert.notEqual((await commitImage({ ...commit, writeDisk: whole }, places())).id, image.id);
  });
});

test("a store that cannot be written gives a sentence", async () => {
  writeFileSync(join(home, "data"), "a file");
  await failsWith("unwritable", /cannot be written \(ENOTDIR\); .*XDG_DATA_HOME/, put("one"));
  assert.deepEqual(await listImages(places()), []);
});
