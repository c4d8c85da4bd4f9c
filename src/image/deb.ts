/* Debian package files: unpacks them with dpkg-deb, which needs no root. @source deb(5), dpkg-deb(1). Leaves out maintainer scripts: nothing is run. */
import { mkdir } from "node:fs/promises";
import { runCommand } from "./command.ts";
import { PackageError } from "./package-error.ts";

/** Unpacks a package's files under `directory`, which is made if need be. @throws PackageError */
export async function unpackDeb(deb: string, directory: string, signal?: AbortSignal): Promise<void> {
  await mkdir(directory, { recursive: true });
  const result = await runCommand("dpkg-deb", ["-x", deb, directory], { signal }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      throw new PackageError(
        "apt-missing",
        "dpkg-deb was not found, which unpacks Debian's packages; install dpkg, or give a kernel with --kernel FILE.",
        { cause: error },
      );
    },
  );
  if (result.status === 0) return;
  if (/No space left/.test(result.stderr))
    throw new PackageError(
      "no-space",
      `There is no space left to unpack a package under ${directory}; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
    );
  throw new PackageError(
    "failed",
    `A package could not be unpacked (${result.stderr.trim().split("\n").at(-1) ?? ""}); try again.`,
  );
}
