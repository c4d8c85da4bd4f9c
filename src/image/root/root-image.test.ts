import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertClean, debugfs, dumpe2fs, statAll, withoutE2fsprogs } from "../ext4/test-ext4.ts";
import { MOUNT_POINTS } from "./extra-entries.ts";
import { type RootImageLayer, type RootImageOptions, buildRootImage } from "./root-image.ts";
import { layerOf } from "./test-archive.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("a root image", { skip: withoutE2fsprogs }, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-root-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const output = (): string => join(directory, "root.ext4");
  const build = (layers: RootImageLayer[], more: Partial<RootImageOptions> = {}) =>
    buildRootImage({ layers, output: output(), ...more });

  test("extended attributes, owners, devices and times arrive", async () => {
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    const acl = "0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000400ffffffff";
    await build([
      layerOf(
        {
          path: "tool",
          uid: 70_000,
          gid: 80_000,
          pax: { mtime: "-1.75", "SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.a": "1" },
        },
        { path: "listed", pax: { "SCHILY.xattr.system.posix_acl_access": Buffer.from(acl, "hex") } },
        {
          path: "much",
          pax: {
            "SCHILY.xattr.user.long": "x".repeat(3000),
            "SCHILY.xattr.trusted.b": "2",
            "SCHILY.xattr.user.empty": "",
          },
        },
        { path: "null", type: "3", device: [1, 3], mode: 0o666 },
        { path: "large", type: "4", device: [300, 70_000] },
        { path: "\xff name", pax: { mtime: "20000000000" }, data: "x" },
      ),
    ]);
    await assertClean(output());
    const found = await statAll(output(), ["tool", "listed", "much", "null", "large", "\xff name"]);
    const { uid, gid, mtime, text } = found.get("tool")!;
    assert.deepEqual([uid, gid, mtime], [70_000, 80_000, "-2.250000000"]);
    assert.match(text, /security\.capability \(20\) = 01 00 00 02 00 04/);
    assert.match(text, /user\.a \(1\) = "1"/);
    assert.match(
      found.get("listed")!.text,
      /system\.posix_acl_access \(28\) = 01 00 00 00 01 00 06 00 02 00 04 00 e8 03/,
    );
    assert.match(found.get("much")!.text, /user\.long \(3000\)[^]*user\.empty \(0\)[^]*trusted\.b \(1\) = "2"/);
    assert.deepEqual([found.get("null")!.type, found.get("null")!.device], ["character special", "01:03"]);
    assert.deepEqual([found.get("large")!.type, found.get("large")!.device], ["block special", "300:70000"]);
    assert.equal(found.get("\xff name")!.mtime, "15032385535.000000000", "as late as ext4 can");
  });

  test("what Mere adds replaces files, but leaves directories that are there", async () => {
    await build(
      [
        layerOf(
          { path: "data/run/" },
          { path: "run", type: "2", link: "data/run" },
          { path: "tmp/", mode: 0o700 },
          { path: "etc/name", data: "old" },
        ),
      ],
      {
        extra: [
          ...MOUNT_POINTS,
          { type: "file", path: "/etc/name", data: "new\n", mode: 0o600, uid: 5 },
          { type: "symlink", path: "/etc/x/y", target: "é" },
        ],
      },
    );
    await assertClean(output());
    const found = await statAll(output(), ["run", "tmp", "proc", "etc/name", "etc/x/y"]);
    assert.deepEqual(
      [...found.values()].map(({ type, mode, uid }) => `${type} ${mode} ${uid}`),
      ["symlink 777 0", "directory 700 0", "directory 755 0", "regular 600 5", "symlink 777 0"],
    );
    assert.deepEqual(await debugfs(output(), ["cat /etc/name"]), ["new\n"]);
  });

  test("many layers that replace one another take no more than what is left of them", async () => {
    const layers = Array.from({ length: 150 }, (_, i) =>
      layerOf({ path: "same", data: Buffer.alloc(1 << 20, i) }, { path: `own-${i}`, data: "x" }),
    );
    const { usedBytes, files } = await build(layers);
    await assertClean(output());
    assert.ok(usedBytes < (150 + 256 + 10) * 4096, `${usedBytes} bytes`);
    assert.equal(files, 152);
    assert.ok((await stat(output())).blocks * 512 < 4 << 20);
  });

  test("the size is as asked, else there is room; nothing is left for Linux to initialise", async () => {
    const { sizeBytes } = await build([layerOf({ path: "f", data: "x" })]);
    assert.equal(sizeBytes, 16 * 2 ** 30);
    const groups = (await dumpe2fs(output())).match(/^Group \d.*$/gm)!;
    assert.ok(groups.length === 128 && groups.every((line) => line.includes("ITABLE_ZEROED")));
    const small = await build([layerOf({ path: "f", data: "x" })], { sizeBytes: 20 << 20, label: "root" });
    assert.equal(small.sizeBytes, 20 << 20);
    assert.equal((await stat(output())).size, 20 << 20);
    await assertClean(output());
  });

  test("the same layers give the same bytes, others another UUID", async () => {
    const make = async (data: string): Promise<[string, string]> => {
      const { uuid } = await build([layerOf({ path: "d/f", data })], { sizeBytes: 16 << 20 });
      return [sha256(await readFile(output())), Buffer.from(uuid).toString("hex")];
    };
    const [one, same, other] = [await make("a"), await make("a"), await make("b")];
    assert.deepEqual(one, same);
    assert.notEqual(one[1], other[1]);
  });
});
