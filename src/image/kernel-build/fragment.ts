/* Mere's kernel configuration (mere.config): lines that Kconfig is asked for, and whether a tree's final .config has them. Kconfig drops what depends on
 * something that is off, or what a version does not have, without an error; here it is one. @source Linux Documentation/kbuild/kconfig.rst */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

/** Values by option, with its prefix: CONFIG_SMP → "y". "n" is an option that must be off or unknown. */
export type Options = ReadonlyMap<string, string>;

/** Path of Mere's own fragment: beside this file in the sources and in the package. */
const FRAGMENT_PATH = new URL("./mere.config", import.meta.url);
/** "#until 6.9 CONFIG_A=y": an option that later versions do not have. For Kconfig it is a comment. */
const UNTIL = /^#until (\d+)\.(\d+) (?=CONFIG_)/;

export interface Fragment {
  readonly text: string;
  /** Eight hexadecimal digits that change with any byte of it. */
  readonly hash: string;
}

export async function readFragment(path: URL | string = FRAGMENT_PATH): Promise<Fragment> {
  const text = await readFile(path, "utf8");
  return { text, hash: createHash("sha256").update(text).digest("hex").slice(0, 8) };
}

/** The fragment as a version of Linux is asked for it: lines until that version or a later one count, others do not. @param version "6.1.192-2" */
export function fragmentFor(text: string, version: string): string {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const isAsked = (line: string): boolean => {
    const until = UNTIL.exec(line);
    return until === null || major < Number(until[1]) || (major === Number(until[1]) && minor <= Number(until[2]));
  };
  const lines = text.split("\n").filter(isAsked);
  return lines.map((line) => line.replace(UNTIL, "")).join("\n");
}

/** Reads a fragment or a .config. @throws RangeError for a line that is none, or an option that is there twice */
export function parseOptions(text: string): Options {
  const options = new Map<string, string>();
  for (const line of text.split("\n")) {
    const set = /^(CONFIG_\w+)=(\S.*)$/.exec(line);
    const name = set?.[1] ?? /^# (CONFIG_\w+) is not set$/.exec(line)?.[1];
    if (name === undefined) {
      if (line === "" || (line.startsWith("#") && !line.startsWith("#until"))) continue;
      throw new RangeError(`"${line}" is no line of a kernel configuration; write CONFIG_NAME=value`);
    }
    if (options.has(name)) throw new RangeError(`${name} is in the kernel configuration twice`);
    options.set(name, set?.[2] ?? "n");
  }
  return options;
}

/** The lines of `asked` that a finished configuration does not have, as they are written: "CONFIG_SMP=y", "CONFIG_PCI=n". */
export function droppedOptions(asked: Options, final: Options): string[] {
  return [...asked]
    .filter(([name, value]) => (final.get(name) ?? "n") !== value)
    .map(([name, value]) => `${name}=${value}`);
}
