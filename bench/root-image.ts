/* node bench/root-image.ts [TREE] [ROUNDS]: a root image made of a tar of the tree, beside mke2fs -d on the tree itself, in turns; the medians and their ratio, and
 * what each file takes on the disk. Without a tree, the host's /usr/share is taken. Needs mke2fs (e2fsprogs) and tar; reads what its user may. */
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../src/image/command.ts";
import { buildRootImage } from "../src/image/root/root-image.ts";

const SIZE = "16G";
const [tree = "/usr/share", rounds = "5"] = process.argv.slice(2);

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

async function must(program: string, words: readonly string[]): Promise<void> {
  const { status, stderr } = await runCommand(program, [...words]);
  if (status !== 0) throw new Error(`${program} failed: ${stderr.trim()}`);
}

const directory = await mkdtemp(join(tmpdir(), "mere-bench-root-"));
try {
  const [archive, ours, theirs] = ["layer.tar", "mere.ext4", "mke2fs.ext4"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  await must("tar", ["--format=pax", "--xattrs", "-C", tree, "-cf", archive, "."]);
  const times = { mere: [] as number[], mke2fs: [] as number[] };
  const build = () =>
    buildRootImage({
      layers: [{ name: archive, open: () => createReadStream(archive, { highWaterMark: 1 << 20 }) }],
      output: ours,
    });
  for (let round = 0; round < Number(rounds); round++) {
    times.mere.push(await seconds(build));
    await rm(theirs, { force: true });
    times.mke2fs.push(
      await seconds(async () => {
        await must("mke2fs", ["-q", "-F", "-t", "ext4", "-m", "0", "-d", tree, theirs, SIZE]);
        await must("sync", [theirs]);
      }),
    );
  }
  const { files, usedBytes } = await build();
  const taken = async (path: string): Promise<number> => ((await stat(path)).blocks * 512) / 2 ** 20;
  const [mere, mke2fs] = [median(times.mere), median(times.mke2fs)];
  console.log(`${files} files, ${(usedBytes / 2 ** 20).toFixed(0)} MiB`);
  console.log(`mere    ${mere.toFixed(2)} s, ${(await taken(ours)).toFixed(0)} MiB on the disk`);
  console.log(`mke2fs  ${mke2fs.toFixed(2)} s, ${(await taken(theirs)).toFixed(0)} MiB on the disk`);
  console.log(
    `ratio   ${(mere / mke2fs).toFixed(2)}; ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB resident at the end`,
  );
} finally {
  await rm(directory, { recursive: true, force: true });
}
