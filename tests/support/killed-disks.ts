/* A VM that writes files to two disks, an overlay and a raw image, with fsync, tells each one that it has written, and is killed with its process at some moment; then: is everything
 * there that was told, and do the file systems come out whole? The disks go on from one round to the next, as they were found. Needs e2fsprogs. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../../src/image/command.ts";
import { copyDiskFile } from "../../src/disk/store.ts";
import { createOverlay } from "../../src/disk/overlay.ts";
import { copyFromDisk, e2fsprogs } from "./guest-programs.ts";
import { startMere, summary } from "./mere.ts";

const DISK_MIB = 64;
/** Files stay for this many numbers. */
const KEPT = 60;
/** By letter: where the guest mounts them. */
const DISKS = { a: "disk.overlay", b: "disk.raw" } as const;

/** What a file of a number holds, so that another length or another content shows. */
function contentOf(number: number): string {
  const count = 500 + (number % 7) * 700;
  return Array.from({ length: count }, (_, n) => `${number + n}\n`).join("");
}
/** The same for the guest's shell; besides, what nobody syncs is written and removed, with discards. */
function script(first: number): string {
  return `mkdir -p /a /b; mount -t ext4 -o discard /dev/vda /a && mount -t ext4 -o discard /dev/vdb /b || exit 9
echo ready
i=${first}; while :; do
for d in a b; do
seq $i $((i + 499 + i % 7 * 700)) >/$d/f$i; sync /$d/f$i; echo told $d $i
dd if=/dev/zero of=/$d/noise$((i % 3)) bs=16k count=$((i % 40 + 1)) 2>/dev/null; rm -f /$d/noise$(((i + 1) % 3)) /$d/f$((i - ${KEPT}))
done
i=$((i + 1)); done`;
}

export interface Round {
  /** Files told, in all. */
  readonly told: number;
  /** What is wrong: none if it is as it should be. */
  readonly wrong: readonly string[];
}

export class KilledDisks {
  readonly #directory: string;
  #next = 1000;

  private constructor(directory: string) {
    this.#directory = directory;
  }
  /** @param parent of a directory of its own, which close() removes */
  static async create(parent: string): Promise<KilledDisks> {
    const directory = await mkdtemp(join(parent, "killed-"));
    const [base, raw] = [join(directory, "base"), join(directory, DISKS.b)];
    await mkdir(join(directory, "empty"));
    const { status, output } = await e2fsprogs("mke2fs", "-q", "-t", "ext4", base, `${DISK_MIB}M`);
    if (status !== 0) throw new Error(`mke2fs: ${output}`);
    await copyDiskFile(base, raw);
    await createOverlay(join(directory, DISKS.a), { base });
    return new KilledDisks(directory);
  }
  async close(): Promise<void> {
    await rm(this.#directory, { recursive: true });
  }

  /** @param tells that come before the kill  @param delayMs from the last of them to it */
  async round(tells: number, delayMs: number): Promise<Round> {
    const heard = await this.#run(tells, delayMs);
    const told = [...heard.matchAll(/^told ([ab]) (\d+)$/gm)].map(([, disk, number]) => ({
      disk: disk as "a" | "b",
      number: Number(number),
    }));
    const last = Math.max(this.#next, ...told.map(({ number }) => number));
    const wrong: string[] = [];
    for (const disk of ["a", "b"] as const) {
      // The one before the last that was told may be on its way out.
      const kept = told
        .filter((file) => file.disk === disk && file.number > last - KEPT + 1)
        .map(({ number }) => number);
      wrong.push(...(await this.#check(disk, kept)));
    }
    this.#next = last + 2;
    return { told: told.length, wrong };
  }
  async #run(tells: number, delayMs: number): Promise<string> {
    const disks = Object.values(DISKS).flatMap((name) => ["--disk", join(this.#directory, name)]);
    const { child, ended } = startMere(["run", "--kernel", "debian", ...disks, "--", "sh", "-c", script(this.#next)]);
    let heard = "";
    let count = -1;
    child.stdout!.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      if (count >= tells) return;
      count = heard.split("\ntold ").length - 1;
      if (count >= tells && heard.includes("ready")) setTimeout(() => child.kill("SIGKILL"), delayMs);
    });
    const end = await ended;
    if (end.status !== null) throw new Error(`the VM ended by itself: ${summary(end)}`);
    return heard;
  }
  /** Looks at a copy: the disk itself is the next guest's to repair. */
  async #check(disk: "a" | "b", numbers: readonly number[]): Promise<string[]> {
    const image = join(this.#directory, `${disk}.checked`);
    const root = join(this.#directory, `${disk}.files`);
    for (const old of [image, root]) await rm(old, { recursive: true, force: true });
    await copyDiskFile(join(this.#directory, DISKS[disk]), image);
    const wrong: string[] = [];
    const replay = await e2fsprogs("e2fsck", "-f", "-p", image);
    if (replay.status > 1) wrong.push(`${disk}: e2fsck -p: ${replay.output}`);
    const clean = await e2fsprogs("e2fsck", "-f", "-n", image);
    if (clean.status !== 0) wrong.push(`${disk}: e2fsck -n: ${clean.output}`);
    await mkdir(root);
    await copyFromDisk(image, "/", root);
    for (const number of numbers) {
      const path = join(root, `f${number}`);
      const content = existsSync(path) ? await readFile(path, "latin1") : undefined;
      if (content !== contentOf(number))
        wrong.push(
          `${disk}: file ${number} ${content === undefined ? "is not there" : `has ${content.length} bytes, not its own`}`,
        );
    }
    if (wrong.length > 0) await this.#keep(image, disk);
    return wrong;
  }
  async #keep(image: string, disk: string): Promise<void> {
    const names = await readdir(this.#directory);
    const kept = join(this.#directory, "..", `killed-${process.pid}-${disk}-${names.length}`);
    await runCommand("cp", ["--sparse=always", image, kept]);
    await writeFile(`${kept}.txt`, `numbers from ${this.#next}\n`);
  }
}
