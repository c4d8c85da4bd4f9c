/* Mere's kernel configuration (mere.config): lines that Kconfig is asked for, and whether a tree's final .config has them. Kconfig drops what depends on
 * something that is off, or what a version does not have, without an error; here it is one. @source Linux Documentation/kbuild/kconfig.rst */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

/** Values by option, with its prefix: CONFIG_SMP → "y". "n" is an option that must be off or unknown. */
export type Options = ReadonlyMap<string, string>;

/** Path of Mere's own fragment: beside this file in the sources and in the package. */
export const FRAGMENT_PATH = new URL("./mere.config", import.meta.url);

export interface Fragment {
  readonly text: string;
  readonly options: Options;
  /** Eight hexadecimal digits that change with any byte of it. */
  readonly hash: string;
}

/** @throws RangeError for a fragment with a line that is none, or with an option twice */
export async function readFragment(path: URL | string = FRAGMENT_PATH): Promise<Fragment> {
  const text = await readFile(path, "utf8");
  return { text, options: parseOptions(text), hash: createHash("sha256").update(text).digest("hex").slice(0, 8) };
}

/** Reads a fragment or a .config. @throws RangeError */
export function parseOptions(text: string): Options {
  const options = new Map<string, string>();
  for (const line of text.split("\n")) {
    const set = /^(CONFIG_\w+)=(\S.*)$/.exec(line);
    const name = set?.[1] ?? /^# (CONFIG_\w+) is not set$/.exec(line)?.[1];
    if (name === undefined) {
      if (line === "" || line.startsWith("#")) continue;
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
