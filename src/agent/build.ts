/* The agent's program: compiled from guest/*.c with Debian's tcc, which comes through a private apt, is unpacked and run from there; nothing is
 * installed. Kept in the cache by the hash of its sources and compiler, so that it is compiled once. @source docs/agent.md "Why C, and tcc"
 *
 *   $XDG_CACHE_HOME/mere/agent/<hash>/           agent
 *   $XDG_CACHE_HOME/mere/compilers/tcc-<version>/  tcc's package, unpacked */
import { createHash } from "node:crypto";
import { access, mkdir, readFile, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Apt } from "../image/apt.ts";
import { compareVersions, defaultCacheDir, inPullDirectory, type PullOptions, putInPlace } from "../image/cache.ts";
import { runCommand } from "../image/command.ts";
import { unpackDeb } from "../image/deb.ts";
import { PackageError } from "../image/package-error.ts";

const SOURCES = fileURLToPath(new URL("./guest/", import.meta.url));
const FLAGS = ["-nostdlib", "-static", "-Wall", "-Werror"];

/** Path of the agent; it is compiled if the cache has none of these sources. @throws PackageError */
export async function ensureAgent(options: PullOptions = {}): Promise<string> {
  const compiler = await ensureTcc(options);
  const sources = await agentSources();
  const hash = createHash("sha256").update(JSON.stringify([compiler.version, FLAGS]));
  for (const { name, text } of sources) hash.update(`\0${name}\0`).update(text);
  const directory = join(options.cacheDir ?? defaultCacheDir(), "agent", hash.digest("hex").slice(0, 16));
  const path = join(directory, "agent");
  const there = await access(path).then(
    () => true,
    () => false,
  );
  if (there) return path;
  await inPullDirectory(options, "agent", async (_parent, work) => {
    const result = join(work, "result");
    await mkdir(result);
    const files = sources.filter(({ name }) => name.endsWith(".c")).map(({ name }) => join(SOURCES, name));
    const { status, stderr } = await runCommand(
      compiler.program,
      [`-B${compiler.library}`, ...FLAGS, "-o", join(result, "agent"), ...files],
      { signal: options.signal },
    );
    if (status !== 0)
      throw new PackageError(
        "failed",
        `The guest's agent could not be compiled (${stderr.trim().split("\n")[0] ?? ""}).`,
      );
    await putInPlace(result, directory);
  });
  return path;
}

/** The agent's source files by name, in order. */
async function agentSources(): Promise<{ name: string; text: Buffer }[]> {
  const names = (await readdir(SOURCES)).filter((name) => /\.[ch]$/.test(name)).sort();
  return Promise.all(names.map(async (name) => ({ name, text: await readFile(join(SOURCES, name)) })));
}

interface Compiler {
  readonly version: string;
  readonly program: string;
  /** Where it looks for its own files, which are not where they would be if it were installed. */
  readonly library: string;
}

/** Debian's tcc in the cache; pulled if there is none. */
async function ensureTcc(options: PullOptions): Promise<Compiler> {
  const parent = join(options.cacheDir ?? defaultCacheDir(), "compilers");
  const names = (await readdir(parent).catch(() => [])).filter((name) => name.startsWith("tcc-"));
  const newest = names.sort(compareVersions).at(-1);
  return compilerIn(parent, newest ?? (await pullTcc(options)));
}

function compilerIn(parent: string, name: string): Compiler {
  const root = join(parent, name);
  return { version: name, program: join(root, "usr/bin/tcc"), library: join(root, "usr/lib/x86_64-linux-gnu/tcc") };
}

/** @returns the directory's name */
async function pullTcc(options: PullOptions): Promise<string> {
  return inPullDirectory(options, "compilers", async (parent, work) => {
    const apt = await Apt.open(join(work, "apt"), options);
    const [deb] = await apt.download(["tcc"], false);
    if (deb === undefined) throw new PackageError("failed", "apt downloaded no file for tcc; try again.");
    const root = join(work, "root");
    await unpackDeb(deb.path, root, options.signal);
    const result = join(work, "result");
    await mkdir(join(result, "usr"), { recursive: true });
    for (const part of ["bin", "lib"]) await rename(join(root, "usr", part), join(result, "usr", part));
    const name = `tcc-${deb.version}`;
    await putInPlace(result, join(parent, name));
    return name;
  });
}
