/* Merges layers into one tree, in memory: later entries replace earlier ones, whiteouts hide what lower layers had. @source OCI image-spec v1.1 layer.md;
 * where it is silent, what container runtimes do. Nothing is ever unpacked on the host: a path means something in this tree only. Data are not here. */
import { Directory, type Inode, NO_XATTRS, RegularFile, Special, Symlink, type Xattr } from "../ext4/nodes.ts";
import { hasNamespace, xattrProblem } from "../ext4/xattrs.ts";
import { TarError, shown } from "./tar-error.ts";
import type { TarEntry } from "./tar-reader.ts";

const MAX_NAME = 255;
/** Linux's PATH_MAX. */
const MAX_PATH = 4096;
/** Of a link's target: a block with a NUL at its end. */
const MAX_TARGET = 4095;
/** As Linux has it. */
const MAX_FOLLOWED = 40;
/** Memory of a tree, about, so that a small archive that is long when decompressed cannot take all there is. A million plain files always fit. */
const MAX_MEMORY = 512 * 2 ** 20;
/** What things take of it. */
const COST = { name: 400, directory: 600, segment: 100, xattr: 150 } as const;
/** Steps through links' targets in one layer: real layers take a few for each entry. */
const MAX_LINK_STEPS = 20_000_000;
const MAX_ID = 2 ** 32 - 2;
const MAX_DEVICE = { major: 2 ** 12 - 1, minor: 2 ** 20 - 1 } as const;
const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Names that only file systems of runtimes use. */
const RUNTIME_OWN = ".wh..wh.";

export interface LayerOptions {
  /** A directory over a link to a directory leaves the link: packages of distributions with merged /usr rely on it. Runtimes replace the link. */
  readonly keepDirectoryLinks?: boolean | undefined;
}

export class LayerTree {
  readonly root = new Directory({ mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanos: 0, xattrs: NO_XATTRS });
  readonly #release: (file: RegularFile) => void;
  #layer = -1;
  #keepDirectoryLinks = false;
  /** At least what the tree takes, and at most twice the limit: what has gone is not subtracted before that. */
  #memory = 0;
  #linkSteps = 0;
  /** The parent that was found last, as long as no directory or link has gone since. */
  #recent: { path: string; directory: Directory } | undefined;

  /** @param release is told of files whose last name has gone */
  constructor(release: (file: RegularFile) => void) {
    this.#release = release;
  }

  /** What is added from now on is of a new layer. */
  beginLayer({ keepDirectoryLinks = false }: LayerOptions = {}): void {
    this.#layer++;
    this.#keepDirectoryLinks = keepDirectoryLinks;
    this.#linkSteps = 0;
    this.#recent = undefined;
  }

  /** Takes one entry. @returns the new file if data of it follow @throws TarError: the tree is then of no use any more */
  add(entry: TarEntry): RegularFile | undefined {
    const parts = splitPath(entry.path);
    const name = parts.pop();
    if (name === undefined) {
      if (entry.type !== "directory") throw refused(entry, "would replace the root directory");
      this.root.take(attributesOf(entry));
      return undefined;
    }
    if (name.startsWith(WHITEOUT)) {
      this.#whiteOut(entry, parts, name);
      return undefined;
    }
    const parent = this.#parent(entry, parts);
    if (entry.type === "directory") {
      this.#addDirectory(parent, name, entry, parts);
      return undefined;
    }
    const inode = entry.type === "link" ? this.#linked(entry) : newInode(entry);
    this.#set(parent, name, inode);
    this.#grow(entry.segments.length * COST.segment);
    return entry.type === "file" && inode instanceof RegularFile ? inode : undefined;
  }

  /** Whether a path is a directory, links followed. */
  hasDirectory(path: string): boolean {
    return this.#walk(splitPath(path), undefined, path) !== undefined;
  }

  #addDirectory(parent: Directory, name: string, entry: TarEntry, parts: readonly string[]): void {
    const old = parent.entries.get(name)?.inode;
    if (old instanceof Directory) {
      old.take(attributesOf(entry));
      parent.entries.set(name, { inode: old, layer: this.#layer });
      this.#grow(costOf(name, old));
      return;
    }
    const keepsLink = this.#keepDirectoryLinks && old instanceof Symlink;
    if (keepsLink && this.#walk([...parts, name], undefined, entry.path) !== undefined) return;
    this.#set(parent, name, new Directory(attributesOf(entry)));
  }

  /** What a hard link's target names now, in whichever layer that came. */
  #linked(entry: TarEntry): Inode {
    const parts = splitPath(entry.linkPath);
    const name = parts.pop();
    const parent = this.#walk(parts, undefined, entry.path);
    const found = name === undefined ? undefined : parent?.entries.get(name)?.inode;
    if (found === undefined)
      throw new TarError(
        "damaged",
        `${shown(entry.path)} is a hard link to ${shown(entry.linkPath)}, which is not there`,
      );
    if (found instanceof Directory) throw refused(entry, "is a hard link to a directory");
    return found;
  }

  #whiteOut(entry: TarEntry, parts: readonly string[], name: string): void {
    const hidden = name.slice(WHITEOUT.length);
    if (name !== OPAQUE && name.startsWith(RUNTIME_OWN)) return;
    if (hidden === "" || hidden === "." || hidden === "..") throw refused(entry, "is a whiteout of no name");
    const parent = this.#walk(parts, undefined, entry.path);
    if (parent === undefined) return;
    if (name === OPAQUE) return this.#hideLower(parent);
    const found = parent.entries.get(hidden);
    if (found === undefined) return;
    const { inode, layer } = found;
    if (inode instanceof Directory) this.#hideLower(inode);
    const isEmpty = !(inode instanceof Directory) || inode.entries.size === 0;
    if (layer < this.#layer && isEmpty) this.#delete(parent, hidden, inode);
  }

  /** Removes what lower layers put into a directory, however deep; what this layer has put there already stays. */
  #hideLower(top: Directory): void {
    const all: Directory[] = [];
    const left = [top];
    for (let directory = left.pop(); directory !== undefined; directory = left.pop()) {
      // Nothing of lower layers can have come since.
      if (directory.hiddenBelow === this.#layer) continue;
      directory.hiddenBelow = this.#layer;
      all.push(directory);
      for (const { inode } of directory.entries.values()) if (inode instanceof Directory) left.push(inode);
    }
    for (const directory of all.reverse())
      for (const [name, { inode, layer }] of directory.entries) {
        const isEmpty = !(inode instanceof Directory) || inode.entries.size === 0;
        if (layer < this.#layer && isEmpty) this.#delete(directory, name, inode);
      }
  }

  #set(parent: Directory, name: string, inode: Inode): void {
    const old = parent.entries.get(name);
    // First the new name, since the old one may be the last of the same file, or hold it.
    inode.links++;
    if (old !== undefined) this.#unlink(old.inode);
    parent.entries.set(name, { inode, layer: this.#layer });
    this.#grow(costOf(name, inode));
  }

  #grow(bytes: number): void {
    this.#memory += bytes;
    if (this.#memory <= 2 * MAX_MEMORY) return;
    this.#memory = this.#measure();
    if (this.#memory > MAX_MEMORY)
      throw new TarError("too-many", "with it there are too many files to keep their names in memory");
  }

  #measure(): number {
    let sum = 0;
    const left = [this.root];
    for (let directory = left.pop(); directory !== undefined; directory = left.pop())
      for (const [name, { inode }] of directory.entries) {
        sum += costOf(name, inode);
        if (inode instanceof Directory) left.push(inode);
      }
    return sum;
  }

  #delete(parent: Directory, name: string, inode: Inode): void {
    parent.entries.delete(name);
    this.#unlink(inode);
  }

  #unlink(top: Inode): void {
    if (top instanceof Directory || top instanceof Symlink) this.#recent = undefined;
    const left = [top];
    for (let inode = left.pop(); inode !== undefined; inode = left.pop()) {
      if (inode instanceof Directory) {
        for (const entry of inode.entries.values()) left.push(entry.inode);
        inode.entries.clear();
      } else if (--inode.links === 0 && inode instanceof RegularFile) this.#release(inode);
    }
  }

  #parent(entry: TarEntry, parts: readonly string[]): Directory {
    const path = parts.join("/");
    if (this.#recent?.path === path) return this.#recent.directory;
    const directory = this.#walk(parts, entry, entry.path)!;
    this.#recent = { path, directory };
    return directory;
  }

  /** Goes to a directory within the root, through links, as if the root were the system's.
   *  @param creator directories that are missing are made with its time; without it there are none to be made
   *  @returns undefined if it is not there, or is no directory, and nothing was to be made */
  #walk(parts: readonly string[], creator: TarEntry | undefined, forPath: string): Directory | undefined {
    let path = [this.root];
    const left = [...parts].reverse();
    let followed = 0;
    for (let part = left.pop(); part !== undefined; part = left.pop()) {
      if (part === "" || part === ".") continue;
      if (part === "..") {
        if (path.length > 1) path.pop();
        continue;
      }
      const here = path.at(-1)!;
      const next = here.entries.get(part)?.inode ?? (creator && this.#missing(here, part, creator));
      if (next instanceof Directory) path.push(next);
      else if (next instanceof Symlink) {
        const steps = next.target.split("/");
        this.#linkSteps += steps.length;
        if (++followed > MAX_FOLLOWED || this.#linkSteps > MAX_LINK_STEPS)
          throw new TarError("refused", `${shown(forPath)} leads through too many symbolic links`);
        if (next.target.startsWith("/")) path = [this.root];
        for (let i = steps.length - 1; i >= 0; i--) left.push(steps[i]!);
      } else if (creator === undefined) return undefined;
      else throw refused(creator, `lies below ${shown(part)}, which is no directory`);
    }
    return path.at(-1)!;
  }

  #missing(parent: Directory, name: string, creator: TarEntry): Directory {
    if (name.length > MAX_NAME) throw refused(creator, `has a name of more than ${MAX_NAME} bytes`);
    const { mtimeSeconds, mtimeNanos } = creator;
    const made = new Directory({ mode: 0o755, uid: 0, gid: 0, mtimeSeconds, mtimeNanos, xattrs: NO_XATTRS });
    this.#set(parent, name, made);
    return made;
  }
}

const refused = ({ path }: TarEntry, why: string): TarError => new TarError("refused", `${shown(path)} ${why}`);

/** The names in a path, from the root on wherever it starts. @throws TarError "refused" */
function splitPath(path: string): string[] {
  if (path.length > MAX_PATH) throw new TarError("refused", `${shown(path)} is a path of more than ${MAX_PATH} bytes`);
  if (path.includes("\0")) throw new TarError("refused", `${shown(path)} is a path with a NUL`);
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new TarError("refused", `${shown(path)} climbs up with ".."`);
  if (parts.some((part) => part.length > MAX_NAME))
    throw new TarError("refused", `${shown(path)} has a name of more than ${MAX_NAME} bytes`);
  return parts;
}

function costOf(name: string, inode: Inode): number {
  let cost = COST.name + name.length;
  for (const { name: key, value } of inode.xattrs) cost += COST.xattr + key.length + value.length;
  if (inode instanceof Directory) cost += COST.directory;
  else if (inode instanceof Symlink) cost += inode.target.length;
  else if (inode instanceof RegularFile) cost += inode.extents.length * COST.segment;
  return cost;
}

type CheckedAttributes = ConstructorParameters<typeof Directory>[0];

function attributesOf(entry: TarEntry): CheckedAttributes {
  const { mode, uid, gid, mtimeSeconds, mtimeNanos } = entry;
  for (const id of [uid, gid])
    if (id < 0 || id > MAX_ID) throw refused(entry, `has an owner that Linux cannot have (${id})`);
  return { mode, uid, gid, mtimeSeconds, mtimeNanos, xattrs: checkXattrs(entry) };
}

/** Attributes of namespaces that Linux does not have are left out, as runtimes do. */
function checkXattrs(entry: TarEntry): readonly Xattr[] {
  if (entry.xattrs.length === 0) return NO_XATTRS;
  const xattrs = entry.xattrs.filter(({ name }) => hasNamespace(name));
  const problem = xattrProblem(xattrs);
  if (problem !== undefined) throw refused(entry, `cannot be stored: ${problem}`);
  return xattrs;
}

function newInode(entry: TarEntry): RegularFile | Symlink | Special {
  const attributes = attributesOf(entry);
  switch (entry.type) {
    case "file":
      return new RegularFile(attributes);
    case "symlink":
      if (entry.linkPath === "" || entry.linkPath.length > MAX_TARGET || entry.linkPath.includes("\0"))
        throw refused(entry, "is a symbolic link to a path that Linux cannot have");
      return new Symlink({ ...attributes, mode: 0o777 }, entry.linkPath);
    case "character-device":
    case "block-device":
      if (!(entry.major >= 0 && entry.major <= MAX_DEVICE.major && entry.minor >= 0 && entry.minor <= MAX_DEVICE.minor))
        throw refused(entry, `is a device that Linux cannot have (${entry.major}:${entry.minor})`);
      return new Special(attributes, entry.type, entry.major, entry.minor);
    case "fifo":
      return new Special(attributes, "fifo");
    default:
      throw new RangeError(`${entry.type} is made elsewhere`);
  }
}
