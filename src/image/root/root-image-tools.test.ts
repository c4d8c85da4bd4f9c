/* Root images of layers that real tools made, compared with what the tools had. */
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
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runCommand } from "../command.ts";
import { assertClean, debugfs, statAll, withoutE2fsprogs } from "../ext4/test-ext4.ts";
import { decompressed } from "./decompress.ts";
import { type RootImageLayer, type RootImageOptions, buildRootImage } from "./root-image.ts";
import { layer, pieces } from "./test-archive.ts";

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

describe("a root image of layers by real tools", { skip: withoutE2fsprogs }, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-root-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const output = (): string => join(directory, "root.ext4");
  const build = (layers: RootImageLayer[], more: Partial<RootImageOptions> = {}) =>
    buildRootImage({ layers, output: output(), ...more });

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
        new Set(await Promise.all((await pathsOf(tree)).map(async (path) => (await lstat(join(tree, path))).ino))).size,
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
