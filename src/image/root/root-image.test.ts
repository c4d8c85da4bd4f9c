import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { runCommand } from "../command.ts";
import { assertClean, debugfs, dumpe2fs, statAll, withoutE2fsprogs } from "../ext4/test-ext4.ts";
import { decompressed } from "./decompress.ts";
import { MOUNT_POINTS } from "./extra-entries.ts";
import { type RootImageLayer, type RootImageOptions, buildRootImage } from "./root-image.ts";
import { RootImageError, type RootImageErrorCode } from "./root-image-error.ts";
import { type TestEntry, archive, entryBytes } from "./test-archive.ts";

async function* pieces(bytes: Uint8Array, length = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
const layer = (bytes: Uint8Array, more: Partial<RootImageLayer> = {}): RootImageLayer => ({
  name: "sha256:abc",
  open: () => pieces(bytes),
  ...more,
});
const layerOf = (...entries: TestEntry[]): RootImageLayer => layer(archive(entries));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function tar(directory: string, ...options: string[]): Promise<Buffer> {
  const file = `${directory}.tar`;
  const { status, stderr } = await runCommand("tar", [...options, "-C", directory, "-cf", file, "."]);
  assert.equal(status, 0, stderr);
  return readFile(file);
}

/** Every path below a directory, the directory's own too. */
async function pathsOf(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true });
  return ["", ...names.sort()];
}

/** The image has what the directory has: nothing more, nothing less. @param seconds by which times may differ */
async function assertSame(image: string, directory: string, { seconds = 0 } = {}): Promise<void> {
  const paths = await pathsOf(directory);
  const found = await statAll(image, paths);
  const inodes = new Map<number, number>();
  for (const path of paths) {
    const [expected, actual] = [await lstat(join(directory, path), { bigint: true }), found.get(path)!];
    const isLink = expected.isSymbolicLink();
    assert.equal(
      actual.mode.padStart(4, "0"),
      (expected.mode & 0o7777n).toString(8).padStart(4, "0"),
      `mode of ${path}`,
    );
    assert.deepEqual([actual.uid, actual.gid], [Number(expected.uid), Number(expected.gid)], `owner of ${path}`);
    if (expected.isFile())
      assert.deepEqual([actual.size, actual.links], [Number(expected.size), Number(expected.nlink)], path);
    if (isLink && actual.size < 60) assert.equal(actual.target, await readlink(join(directory, path)));
    const difference = Number(BigInt(actual.mtime.replace(".", "")) - expected.mtimeNs);
    assert.ok(Math.abs(difference) <= seconds * 1e9, `time of ${path}: ${difference}`);
    const type = isLink ? "symlink" : expected.isDirectory() ? "directory" : expected.isFile() ? "regular" : "FIFO";
    assert.equal(actual.type, type, path);
    // Names of one file there are names of one file here.
    const [there, here] = [Number(expected.ino), actual.inode];
    assert.equal(inodes.get(there) ?? here, here, `${path} is linked to another file`);
    inodes.set(there, here);
  }
  await assertSameData(image, directory, paths);
}

async function assertSameData(image: string, directory: string, paths: readonly string[]): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), "mere-rdump-"));
  try {
    // Owners cannot be set without root, which debugfs reports and goes on.
    await debugfs(image, [`rdump / "${copy}"`]);
    // It leaves out pipes too.
    const copied: string[] = [];
    for (const path of paths) if (!(await lstat(join(directory, path))).isFIFO()) copied.push(path);
    assert.deepEqual(await pathsOf(copy), copied);
    for (const path of paths)
      if ((await lstat(join(directory, path))).isFile())
        assert.equal(sha256(await readFile(join(copy, path))), sha256(await readFile(join(directory, path))), path);
      else if ((await lstat(join(directory, path))).isSymbolicLink())
        assert.equal(await readlink(join(copy, path)), await readlink(join(directory, path)));
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** Files of all lengths that matter, links, pipes, modes, holes. */
async function makeTree(root: string): Promise<void> {
  await mkdir(join(root, "a/b/c"), { recursive: true });
  for (const length of [0, 1, 511, 512, 4095, 4096, 4097, 300_000])
    await writeFile(
      join(root, "a", `file-${length}`),
      Buffer.from(Array.from({ length }, (_, i) => (i * 7 + length) & 0xff)),
    );
  for (let i = 0; i < 400; i++) await writeFile(join(root, "a/b", `small-${"n".repeat(i % 50)}-${i}`), `text ${i}`);
  await symlink("../a/file-1", join(root, "a/link"));
  await symlink("t".repeat(200), join(root, "a/long-link"));
  await link(join(root, "a/file-4096"), join(root, "a/b/hard"));
  await chmod(join(root, "a/file-1"), 0o4755);
  await chmod(join(root, "a/b/c"), 0o1777);
  await runCommand("mkfifo", [join(root, "a/pipe")]);
  await writeFile(join(root, "a/holes"), "start");
  await runCommand("truncate", ["-s", "5000000", join(root, "a/holes")]);
  await writeFile(join(root, "a/holes"), "end", { flag: "a" });
  await utimes(join(root, "a/file-0"), 1, 4_000_000_000.5);
}

describe("a root image", { skip: withoutE2fsprogs }, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-root-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const output = (): string => join(directory, "root.ext4");
  const build = (layers: RootImageLayer[], more: Partial<RootImageOptions> = {}) =>
    buildRootImage({ layers, output: output(), ...more });

  describe("of layers by real tools", () => {
    let tree = "";
    before(async () => {
      tree = join(directory, "tree");
      await makeTree(tree);
    });

    for (const options of [
      ["--format=pax"],
      ["--format=pax", "--sparse"],
      ["--format=pax", "--sparse", "--sparse-version=0.1"],
    ])
      test(`tar ${options.join(" ")}`, async () => {
        const bytes = await tar(tree, ...options);
        const { diffIds, files } = await build([layer(bytes)]);
        await assertClean(output());
        await assertSame(output(), tree);
        assert.deepEqual(diffIds, [`sha256:${sha256(bytes)}`]);
        assert.equal(
          files,
          new Set(await Promise.all((await pathsOf(tree)).map(async (path) => (await lstat(join(tree, path))).ino)))
            .size,
        );
      });

    test("umoci: files changed, removed, replaced by directories and the reverse, over three layers", async (t) => {
      const umoci = (...words: string[]) =>
        runCommand("umoci", words).catch(() => ({ status: -1, stdout: "", stderr: "none" }));
      if ((await umoci("--version")).status !== 0) return t.skip("no umoci here");
      const oci = join(directory, "oci");
      const bundle = join(directory, "bundle");
      const rootfs = join(bundle, "rootfs");
      const must = async (...words: string[]): Promise<void> => {
        const { status, stderr } = await umoci(...words);
        assert.equal(status, 0, stderr);
      };
      const own = process.getuid!() === 0 ? [] : ["--rootless"];
      await must("init", "--layout", oci);
      await must("new", "--image", `${oci}:t`);
      await must("unpack", ...own, "--image", `${oci}:t`, bundle);
      await makeTree(rootfs);
      await must("repack", "--refresh-bundle", "--image", `${oci}:t`, bundle);
      await rm(join(rootfs, "a/b"), { recursive: true });
      await writeFile(join(rootfs, "a/b"), "now a file");
      await rm(join(rootfs, "a/file-4096"));
      await rm(join(rootfs, "a/file-1"));
      await mkdir(join(rootfs, "a/file-1/x"), { recursive: true });
      await writeFile(join(rootfs, "a/file-300000"), "shorter");
      await must("repack", "--refresh-bundle", "--image", `${oci}:t`, bundle);
      await rm(join(rootfs, "a/file-1"), { recursive: true });
      await chmod(join(rootfs, "a/file-0"), 0o600);
      await writeFile(join(rootfs, "new"), "x".repeat(10_000));
      await must("repack", "--refresh-bundle", "--image", `${oci}:t`, bundle);

      const layers = await ociLayers(oci);
      assert.equal(layers.length, 3);
      await build(layers);
      await assertClean(output());
      // umoci writes whole seconds.
      await assertSame(output(), rootfs, { seconds: 1 });
    });
  });

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

  describe("that cannot be made leaves nothing, and says why", () => {
    const good = archive([{ path: "f", data: "x".repeat(100_000) }]);
    const cases: [
      string,
      () => Partial<RootImageOptions> & { layers: RootImageLayer[] },
      RootImageErrorCode,
      RegExp,
    ][] = [
      [
        "a layer cut off in a file",
        () => ({ layers: [layer(good.subarray(0, 50_000))] }),
        "damaged-layer",
        /^Layer sha256:abc is damaged: it ends in the middle/,
      ],
      [
        "a layer cut off between files",
        () => ({ layers: [layer(entryBytes({ path: "f", data: "x" }))] }),
        "damaged-layer",
        /its end is missing/,
      ],
      ["an empty layer", () => ({ layers: [layer(Buffer.alloc(0))] }), "damaged-layer", /its end is missing/],
      [
        "a layer with another digest",
        () => ({ layers: [layer(good, { diffId: `sha256:${"0".repeat(64)}` })] }),
        "wrong-digest",
        /pull the image again/,
      ],
      [
        "an entry that climbs out",
        () => ({ layers: [layerOf({ path: "../x" })] }),
        "refused-entry",
        /^Layer sha256:abc has an entry that is refused: "..\/x" climbs/,
      ],
      [
        "gzip cut off",
        () => ({ layers: [zipped(gzipSync(good).subarray(0, -9))] }),
        "damaged-layer",
        /its gzip compression is damaged or cut off/,
      ],
      [
        "gzip damaged",
        () => ({ layers: [zipped(flipped(gzipSync(good)))] }),
        "damaged-layer",
        /its gzip compression is damaged/,
      ],
      [
        "zstd cut off",
        () => ({ layers: [zipped(zstdCompressSync(good).subarray(0, -9))] }),
        "damaged-layer",
        /its zstd compression is damaged or cut off/,
      ],
      [
        "zstd damaged",
        () => ({ layers: [zipped(flipped(zstdCompressSync(good)))] }),
        "damaged-layer",
        /its zstd compression is damaged/,
      ],
      [
        "xz",
        () => ({ layers: [zipped(Buffer.from("\xfd7zXZ\0....", "latin1"))] }),
        "unsupported",
        /compressed with xz/,
      ],
      [
        "a type that is unknown",
        () => ({ layers: [layerOf({ path: "f", type: "D" })] }),
        "unsupported",
        /Make the image with another tool/,
      ],
      [
        "too much for the size",
        () => ({
          layers: [layer(good)],
          sizeBytes: 1 << 20,
          extra: [{ type: "file" as const, path: "g", data: Buffer.alloc(1 << 20) }],
        }),
        "too-small",
        /give a larger size/,
      ],
      [
        "too much for the limit",
        () => ({ layers: [layer(good)], limitBytes: 50_000 }),
        "too-large",
        /give a size for the disk/,
      ],
      [
        "a file of 2 PiB",
        () => ({ layers: [layer(entryBytes({ path: "f", pax: { size: String(2 ** 51) } }))] }),
        "refused-entry",
        /more than Linux can store/,
      ],
      [
        "what Mere adds climbing out",
        () => ({ layers: [], extra: [{ type: "file" as const, path: "a/../b", data: "" }] }),
        "refused-entry",
        /what Mere adds/,
      ],
      [
        "a source that cannot be read",
        () => ({ layers: [{ name: "gone", open: () => missing() }] }),
        "failed",
        /^Layer gone cannot be read \(ENOENT/,
      ],
      [
        "a folder that is not there",
        () => ({ layers: [], output: join(directory, "none/x") }),
        "unwritable",
        /check its folder/,
      ],
    ];
    const zipped = (bytes: Uint8Array): RootImageLayer => layer(bytes, { open: () => decompressed(pieces(bytes)) });
    const flipped = (bytes: Buffer): Buffer => {
      for (let i = 30; i < 60; i++) bytes[i]! ^= 0x55;
      return bytes;
    };
    async function* missing(): AsyncGenerator<Uint8Array> {
      yield await readFile(join(directory, "missing"));
    }
    for (const [name, options, code, words] of cases)
      test(name, async () => {
        await rm(output(), { force: true });
        const before = (await readdir(directory)).sort();
        await assert.rejects(buildRootImage({ output: output(), ...options() }), (error: unknown) => {
          assert.ok(error instanceof RootImageError, String(error));
          assert.equal(error.code, code);
          assert.match(error.message, words);
          return true;
        });
        assert.deepEqual((await readdir(directory)).sort(), before);
      });

    test("what was there before stays", async () => {
      await writeFile(output(), "old");
      await assert.rejects(build([layer(good.subarray(0, 50_000))]));
      assert.equal(await readFile(output(), "utf8"), "old");
    });

    test("errors of a source's own pass unchanged", async () => {
      const own = new TypeError("mine");
      await assert.rejects(build([{ name: "x", open: () => Promise.reject(own) }]), (error) => error === own);
    });

    test("a signal ends it, even while a source stalls", async () => {
      const stop = new AbortController();
      const stalled = new Readable({ read() {} });
      stalled.push(good.subarray(0, 20_000));
      const building = build([{ name: "slow", open: () => stalled }], {
        signal: stop.signal,
        onProgress: () => stop.abort(new Error("enough")),
      });
      await assert.rejects(building, /^Error: enough$/);
      assert.ok(stalled.destroyed);
      assert.deepEqual(
        (await readdir(directory)).filter((name) => name.includes("partial")),
        [],
      );
    });
  });

  test("compressions are told by their bytes, whatever the pieces; several members are one", async () => {
    const good = archive([{ path: "f", data: "y".repeat(50_000) }]);
    const half = good.length / 2;
    const skippable = Buffer.from("502a4d180400000001020304", "hex");
    const forms = {
      plain: good,
      gzip: gzipSync(good),
      "gzip of two members": Buffer.concat([gzipSync(good.subarray(0, half)), gzipSync(good.subarray(half))]),
      zstd: zstdCompressSync(good),
      "zstd of two frames": Buffer.concat([
        zstdCompressSync(good.subarray(0, half)),
        zstdCompressSync(good.subarray(half)),
      ]),
      "zstd with frames to skip": Buffer.concat([skippable, zstdCompressSync(good), skippable]),
    };
    for (const [name, bytes] of Object.entries(forms))
      for (const length of [1, 100, bytes.length]) {
        const out: Uint8Array[] = [];
        for await (const piece of decompressed(pieces(bytes, length))) out.push(piece);
        assert.ok(Buffer.concat(out).equals(good), `${name} in pieces of ${length}`);
      }
  });
});

interface Descriptor {
  readonly digest: string;
}

/** Layers of the only image in an OCI layout, with their digests. */
async function ociLayers(oci: string): Promise<RootImageLayer[]> {
  const blob = (digest: string): string => join(oci, "blobs", digest.replace(":", "/"));
  const json = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, "utf8")) as T;
  const index = await json<{ manifests: Descriptor[] }>(join(oci, "index.json"));
  const manifest = await json<{ layers: Descriptor[]; config: Descriptor }>(blob(index.manifests[0]!.digest));
  const config = await json<{ rootfs: { diff_ids: string[] } }>(blob(manifest.config.digest));
  return Promise.all(
    manifest.layers.map(async ({ digest }, i) => {
      const bytes = await readFile(blob(digest));
      return { name: digest, diffId: config.rootfs.diff_ids[i]!, open: () => decompressed(pieces(bytes)) };
    }),
  );
}
