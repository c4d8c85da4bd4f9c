/* Debian's programs for the benchmark: a disk for the guests, and the same files as a directory in which the host runs them, so that "native" is the same
 * programs with the same libraries. Both are made once and kept in the cache. Reading the files out of the disk needs debugfs (e2fsprogs), and running them
 * the right to chroot, which a user namespace gives where the host lets users have one. @source debugfs(8) rdump, unshare(1) */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { runCommand } from "../src/image/command.ts";
import { defaultCacheDir } from "../src/image/kernel.ts";
import { TEST_PACKAGES, debianDisk } from "../tests/support/debian-disk.ts";
import { exists, renameInto } from "./programs.ts";

const PACKAGES = [...TEST_PACKAGES, "bzip2", "gcc", "libc6-dev", "make"];
const SIZE_MIB = 1024;

export interface DebianPrograms {
  /** A raw ext4 image, for reading only. */
  readonly disk: string;
  /** Words before a command that make the host run it from the same files; undefined where it cannot. */
  readonly prefix: string | undefined;
  /** The directory that these commands see as /. */
  readonly root: string;
}

/** @throws PackageError, Error when mke2fs is not there */
export async function debianPrograms(): Promise<DebianPrograms> {
  const disk = await debianDisk(PACKAGES, { sizeMib: SIZE_MIB });
  const root = join(defaultCacheDir(), "bench", basename(disk, ".ext4"));
  if (!(await exists(root))) await extract(disk, root);
  for (const prefix of [`chroot ${root}`, `unshare -r chroot ${root}`])
    if (await succeeds("sh", ["-c", `PATH=$PATH:/usr/sbin ${prefix} true`])) return { disk, root, prefix };
  return { disk, root, prefix: undefined };
}

async function extract(disk: string, root: string): Promise<void> {
  await mkdir(dirname(root), { recursive: true });
  const work = await mkdtemp(join(dirname(root), ".root-"));
  try {
    for (const program of ["debugfs", "/usr/sbin/debugfs", "/sbin/debugfs"]) {
      if (!(await succeeds(program, ["-R", `rdump / ${work}`, disk]))) continue;
      if (!(await exists(join(work, "usr")))) return;
      // perl reads it before a script of -e; a user may make no device.
      await writeFile(join(work, "dev/null"), "");
      return await renameInto(work, root);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  const result = await runCommand(program, args).catch(() => undefined);
  return result?.status === 0;
}
