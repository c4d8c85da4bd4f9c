/* For tests: what Debian's e2fsprogs say of an image. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../command.ts";

/** Where e2fsprogs are, which is not on everybody's PATH. */
const FOLDERS = ["", "/usr/sbin/", "/sbin/"];

async function e2fsprogs(
  program: string,
  args: readonly string[],
): Promise<{ status: number; output: string } | undefined> {
  for (const folder of FOLDERS) {
    const result = await runCommand(folder + program, [...args]).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if (result !== undefined) return { status: result.status, output: result.stdout + result.stderr };
  }
  return undefined;
}

/** For `skip` of a test: false, or why it cannot run. */
export const withoutE2fsprogs: string | false =
  (await e2fsprogs("debugfs", ["-V"])) === undefined ? "no e2fsprogs here" : false;

/** e2fsck finds nothing at all. */
export async function assertClean(image: string): Promise<void> {
  const { status, output } = (await e2fsprogs("e2fsck", ["-f", "-n", image]))!;
  assert.equal(status, 0, output);
  assert.equal(/^.*(?:\?|[Ww]arning|[Ii]gnored).*$/m.exec(output)?.[0], undefined);
}

export async function dumpe2fs(image: string, ...options: string[]): Promise<string> {
  return (await e2fsprogs("dumpe2fs", [...options, image]))!.output;
}

/** What debugfs prints to commands, without their echo. One text for each. */
export async function debugfs(image: string, commands: readonly string[]): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), "mere-debugfs-"));
  try {
    const script = join(directory, "commands");
    await writeFile(script, `${commands.join("\n")}\n`, "latin1");
    const { output } = (await e2fsprogs("debugfs", ["-f", script, image]))!;
    return output
      .split(/^debugfs: .*\n/m)
      .slice(1)
      .map((text) => text.replace(/^debugfs \d.*\n/m, ""));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export interface Stat {
  readonly inode: number;
  readonly type: string;
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  /** Seconds and nanoseconds. */
  readonly mtime: string;
  readonly flags: string;
  readonly device: string;
  readonly target: string;
  readonly text: string;
}

/** What debugfs tells of some paths. */
export async function statAll(image: string, paths: readonly string[]): Promise<Map<string, Stat>> {
  const texts = await debugfs(
    image,
    paths.map((path) => `stat "/${path}"`),
  );
  return new Map(paths.map((path, i) => [path, parseStat(texts[i]!)]));
}

function parseStat(text: string): Stat {
  const field = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? "";
  const [, low = "0", extra = "0"] = /^ *mtime: 0x([0-9a-f]+):([0-9a-f]+)/m.exec(text) ?? [];
  const bits = Number.parseInt(extra, 16);
  const seconds = (Number.parseInt(low, 16) | 0) + (bits & 3) * 2 ** 32;
  return {
    inode: Number(field(/^Inode: (\d+)/m)),
    type: field(/Type: (.*?) +Mode:/),
    mode: field(/Mode: +0?(\d+)/),
    uid: Number(field(/^User: +(\d+)/m)),
    gid: Number(field(/Group: +(\d+)/)),
    size: Number(field(/Size: (\d+)$/m)),
    links: Number(field(/^Links: (\d+)/m)),
    mtime: `${seconds}.${String(bits >>> 2).padStart(9, "0")}`,
    flags: field(/Flags: (0x[0-9a-f]+)/),
    device: field(/Device major\/minor number: (\d+:\d+)/),
    target: field(/^Fast link dest: "(.*)"$/m),
    text,
  };
}
