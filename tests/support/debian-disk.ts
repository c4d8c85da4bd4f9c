/* Root disks for tests: Debian packages unpacked into a raw ext4 file system, without root and without running anything from them.
 * Made once per list of packages and cached; a test must open it read-only or through an overlay. @source mke2fs(8) -d, hier(7) */
import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fetchPackages } from "../../src/image/apt.ts";
import { runCommand } from "../../src/image/command.ts";
import { unpackDeb } from "../../src/image/deb.ts";
import { defaultCacheDir } from "../../src/image/kernel.ts";

/** A userland for boot tests: shells, the core tools, and interpreters and compressors that exercise the processor. */
export const TEST_PACKAGES = [
  "bash",
  "dash",
  "coreutils",
  "findutils",
  "grep",
  "sed",
  "mawk",
  "gawk",
  "util-linux",
  "procps",
  "mount",
  "busybox-static",
  "python3-minimal",
  "libpython3-stdlib",
  "perl-base",
  "openssl",
  "sqlite3",
  "bc",
  "gzip",
  "xz-utils",
  "zstd",
  "tar",
  "base-files",
  "base-passwd",
] as const;

/** Changes when the making does, so that older cached disks are not taken. */
const RECIPE = 3;
/** Debian's installed systems have these as links into /usr, and packages rely on it, though some still ship files under the old names. */
const MERGED_DIRECTORIES = ["bin", "sbin", "lib", "lib64"];

/** Makes (or finds) the disk. Takes about half a minute and a network the first time.
 *  @returns path of a raw ext4 image @throws PackageError, Error when mke2fs is not there (e2fsprogs) */
export async function debianDisk(
  packages: readonly string[] = TEST_PACKAGES,
  options: { cacheDir?: string; sizeMib?: number; extraFiles?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const sizeMib = options.sizeMib ?? 512;
  const parent = join(options.cacheDir ?? defaultCacheDir(), "test-disks");
  const key = createHash("sha256")
    .update(JSON.stringify([RECIPE, [...packages].sort(), sizeMib, options.extraFiles ?? {}]))
    .digest("hex")
    .slice(0, 16);
  const result = join(parent, `debian-${key}.ext4`);
  if (
    await access(result).then(
      () => true,
      () => false,
    )
  )
    return result;
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(join(parent, ".make-"));
  try {
    const root = join(work, "root");
    await makeTree(root, await fetchPackages(packages, { directory: join(work, "debs"), dependencies: true }));
    for (const [path, text] of Object.entries(options.extraFiles ?? {}))
      await writeFile(join(root, path), text, { mode: 0o755 });
    const image = join(work, "disk.ext4");
    await makeExt4(root, image, sizeMib);
    await rename(image, result);
    return result;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function makeTree(root: string, debs: readonly { path: string }[]): Promise<void> {
  for (const { path } of debs) await unpackDeb(path, root);
  for (const name of MERGED_DIRECTORIES) {
    await moveInto(join(root, name), join(root, "usr", name));
    await symlink(`usr/${name}`, join(root, name));
  }
  for (const name of ["proc", "sys", "dev", "run", "tmp", "root", "etc", "var/tmp"])
    await mkdir(join(root, name), { recursive: true });
  // What the packages' scripts would have made.
  const links: [string, string][] = [
    ["bash", "bin/sh"],
    ["mawk", "bin/awk"],
  ];
  for (const [target, link] of links) await symlink(target, join(root, link)).catch(ignoreExisting);
  await writeFile(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
  );
  await writeFile(join(root, "etc/group"), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
}

/** Moves a directory's entries into another, directories into those of the same name. The first is gone afterwards. */
async function moveInto(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await moveInto(join(from, entry.name), join(to, entry.name));
    else await rename(join(from, entry.name), join(to, entry.name));
  }
  await rm(from, { recursive: true, force: true });
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}

/** mke2fs lives in /sbin, which is not on everybody's PATH. */
async function makeExt4(root: string, image: string, sizeMib: number): Promise<void> {
  const args = ["-q", "-F", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0", "-d", root, image, `${sizeMib}m`];
  for (const program of ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"]) {
    const result = await runCommand(program, args).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if (result === undefined) continue;
    if (result.status !== 0) throw new Error(`mke2fs failed: ${result.stderr.trim()}`);
    return;
  }
  throw new Error("mke2fs was not found; install e2fsprogs");
}
