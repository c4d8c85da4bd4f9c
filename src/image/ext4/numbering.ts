/* Gives the inodes of a tree their numbers: the root's is fixed, the others follow directory by directory, so that what is read together is near. */
import { FIRST_INODE, ROOT_INODE } from "./geometry.ts";
import { Ext4Error } from "./ext4-error.ts";
import { Directory, type Inode } from "./nodes.ts";

/** More names of one inode ext4 does not allow; a directory with more subdirectories has one link. */
const MAX_LINKS = 65000;

export interface Numbered {
  /** In the order of their numbers. */
  readonly inodes: readonly Inode[];
  /** Of directories; the root is its own. */
  readonly parents: ReadonlyMap<Directory, Directory>;
  /** Links of directories: their name, their ".", and the ".." of each below. */
  readonly links: ReadonlyMap<Directory, number>;
}

/** @throws Ext4Error "too-many" */
export function numberInodes(root: Directory): Numbered {
  const inodes: Inode[] = [root];
  const parents = new Map<Directory, Directory>([[root, root]]);
  const links = new Map<Directory, number>();
  root.number = ROOT_INODE;
  // Not recursive: directories may be nested deeper than the stack is.
  const left = [root];
  for (let directory = left.pop(); directory !== undefined; directory = left.pop()) {
    const below: Directory[] = [];
    for (const { inode } of directory.entries.values()) {
      if (inode.number !== 0) continue;
      inode.number = FIRST_INODE + inodes.length - 1;
      inodes.push(inode);
      if (inode instanceof Directory) {
        parents.set(inode, directory);
        below.push(inode);
      } else if (inode.links > MAX_LINKS)
        throw new Ext4Error("too-many", `A file has ${inode.links} names, more than the ${MAX_LINKS} of ext4.`);
    }
    links.set(directory, below.length + 2 > MAX_LINKS ? 1 : below.length + 2);
    left.push(...below.reverse());
  }
  return { inodes, parents, links };
}
