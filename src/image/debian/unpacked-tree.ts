/* The files of packages as one tar archive, as dpkg would have unpacked them on a system with merged /usr; what dpkg's database says of them is collected on
 * the way. One pass: each piece of a package goes through at once, nothing is kept but names and digests.
 * @source dpkg's archives.c and unpack.c; Debian Policy 10.1, "The usr-merge" (deb 7.6.2). Owners and groups are the archive's numbers: those in packages are static. */
import { type Hash, createHash } from "node:crypto";
import type { TarEntry } from "../root/tar-reader.ts";
import { TarError } from "../root/tar-error.ts";
import { isExcluded } from "./exclusions.ts";
import type { ControlFiles, FileSink } from "./package-archive.ts";
import { entryHeader, padding } from "./tar-writer.ts";

/** These lead to directories of the same name in /usr. */
const ALWAYS_MERGED = ["bin", "sbin", "lib", "lib64"];
const MERGED = new Set([...ALWAYS_MERGED, "lib32", "libo32", "libx32"]);

/** What dpkg remembers of a package's files. */
export interface UnpackedFiles {
  /** Paths as in the package, absolute, in its order; "/." first. */
  readonly list: readonly string[];
  /** Configuration files with their MD5 digests as they are in the package. */
  readonly conffiles: ReadonlyMap<string, string>;
}

/** Collects one archive from many packages. */
export class UnpackedTree {
  #output: Uint8Array[] = [];
  readonly #merged = new Set<string>();

  constructor() {
    this.#put({ type: "directory", path: "./", mode: 0o755 });
    this.#put({ type: "directory", path: "./usr/", mode: 0o755 });
    for (const name of ALWAYS_MERGED) this.#merge(name);
  }

  /** What came together since the last call. */
  take(): Uint8Array[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  /** Adds something of the image's own. */
  add(bytes: Uint8Array): void {
    this.#output.push(bytes);
  }

  /** A sink for one package's files. */
  package(control: ControlFiles): FileSink & { end(): UnpackedFiles } {
    const list: string[] = [];
    const conffiles = new Map<string, string>();
    const wanted = conffileNames(control);
    let current: { path: string; hash: Hash | undefined; isLeftOut: boolean; sizeBytes: number } | undefined;
    const finish = (): void => {
      if (current === undefined) return;
      if (current.hash !== undefined) conffiles.set(current.path, current.hash.digest("hex"));
      if (!current.isLeftOut) this.#output.push(padding(current.sizeBytes));
      current = undefined;
    };
    return {
      entry: (entry) => {
        finish();
        if (entry.segments.length > 1) throw new TarError("unsupported", "it has a file with holes");
        const path = absolute(entry.path);
        list.push(path === "/" ? "/." : path);
        const isLeftOut = isExcluded(path) || (entry.type === "link" && isExcluded(absolute(entry.linkPath)));
        const sizeBytes = entry.type === "file" ? entry.sizeBytes : 0;
        const hash = wanted.has(path) && entry.type === "file" ? createHash("md5") : undefined;
        current = { path, hash, isLeftOut, sizeBytes };
        if (!isLeftOut) this.#putMerged(entry, path);
      },
      data: (bytes) => {
        if (current === undefined) return;
        current.hash?.update(bytes);
        // The bytes are the reader's again after this call.
        if (!current.isLeftOut) this.#output.push(Buffer.from(bytes));
      },
      end: () => {
        finish();
        return { list, conffiles };
      },
    };
  }

  #putMerged(entry: TarEntry, path: string): void {
    const top = path.split("/", 2)[1]!;
    if (path === "/") return;
    // Newer base-files packages bring the links themselves.
    if (path === `/${top}` && entry.type === "symlink" && MERGED.has(top)) return this.#merge(top);
    if (MERGED.has(top)) this.#merge(top);
    const linkPath = entry.type === "link" ? `.${this.#mergedPath(absolute(entry.linkPath))}` : entry.linkPath;
    const isDirectory = entry.type === "directory";
    this.#put({ ...entry, path: `.${this.#mergedPath(path)}${isDirectory ? "/" : ""}`, linkPath });
  }

  #mergedPath(path: string): string {
    return MERGED.has(path.split("/", 2)[1]!) ? `/usr${path}` : path;
  }

  #merge(name: string): void {
    if (this.#merged.has(name)) return;
    this.#merged.add(name);
    this.#put({ type: "directory", path: `./usr/${name}/`, mode: 0o755 });
    this.#put({ type: "symlink", path: `./${name}`, linkPath: `usr/${name}`, mode: 0o777 });
  }

  #put(entry: Parameters<typeof entryHeader>[0]): void {
    this.#output.push(entryHeader(entry));
  }
}

/** "./usr/bin/" → "/usr/bin". */
function absolute(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return `/${parts.join("/")}`;
}

function conffileNames(control: ControlFiles): Set<string> {
  const text = control.files.get("conffiles")?.content.toString() ?? "";
  return new Set(text.split("\n").filter((line) => line.startsWith("/")));
}
