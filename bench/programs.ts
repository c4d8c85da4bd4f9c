/* The programs of bench/programs, compiled by the host's gcc and kept in the cache until one of them or the compiler changes. */
import { createHash } from "node:crypto";
import { access, copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../src/image/command.ts";
import { defaultCacheDir } from "../src/image/kernel.ts";

const SOURCE = fileURLToPath(new URL("./programs", import.meta.url));
/** Static: the same instructions in every guest and on the host. */
const FLAGS = ["-O2", "-static", "-pthread"];

/** @returns a directory with the programs, which is not to be written to; undefined if there is no gcc @throws Error with the compiler's complaint */
export async function compiledPrograms(): Promise<string | undefined> {
  const compiler = await runCommand("gcc", ["--version"]).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return undefined;
  });
  if (compiler === undefined) return undefined;
  const names = (await readdir(SOURCE)).sort();
  const hash = createHash("sha256").update(compiler.stdout).update(FLAGS.join(" "));
  for (const name of names) hash.update(name).update(await readFile(join(SOURCE, name)));
  const parent = join(defaultCacheDir(), "bench");
  const result = join(parent, `programs-${hash.digest("hex").slice(0, 16)}`);
  if (await exists(result)) return result;
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(join(parent, ".programs-"));
  try {
    for (const name of names) await build(name, work);
    await renameInto(work, result);
    return result;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function build(name: string, target: string): Promise<void> {
  const path = join(SOURCE, name);
  if (name.endsWith(".c")) {
    const output = join(target, name.slice(0, -2));
    const result = await runCommand("gcc", [...FLAGS, "-o", output, path, "-lm"]);
    if (result.status !== 0) throw new Error(`gcc cannot compile ${name}: ${result.stderr}`);
  } else if (!name.endsWith(".h")) await copyFile(path, join(target, name));
}

/** Makes a finished directory visible under its name, unless another process was faster. */
export async function renameInto(work: string, result: string): Promise<void> {
  await rename(work, result).catch(async (error: unknown) => {
    if (!(await exists(result))) throw error;
  });
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
