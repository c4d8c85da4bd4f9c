/* Writes an ext4 file system into a file: data of files as they come, from the start of the file on; then, with finish(), everything that describes them.
 * So data are written once and at their final place. Order in the file: superblock, descriptors, data, directories, bitmaps, inode tables, journal, free
 * space; copies of the superblock in between. docs/images.md says why. I/O thread. */
import type { FileHandle } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { BlockAllocator } from "./block-allocator.ts";
import { crc32c } from "./crc32c.ts";
import { directoryBlocks } from "./directory-blocks.ts";
import { Ext4Error } from "./ext4-error.ts";
import { cutExtents, fitsInRoot, storeTree } from "./extents.ts";
import {
  BLOCK_BYTES,
  BLOCKS_PER_GROUP,
  type BlockRange,
  DESCRIPTOR_BYTES,
  FIRST_INODE,
  INODE_BYTES,
  JOURNAL_INODE,
  ROOT_INODE,
  descriptorBlocks,
  groupsFor,
  hasSuperblock,
} from "./geometry.ts";
import { type Group, type Layout, describeGroups, superblockBlocks } from "./groups.ts";
import { ImageWriter } from "./image-writer.ts";
import {
  INDEX_FL,
  JOURNAL_AREA,
  type Placed,
  encodeInode,
  encodeJournalInode,
  entryTypeOf,
  inodeSeed,
  linkBlocks,
} from "./inode.ts";
import { journalBlocks, journalSuperblock } from "./journal.ts";
import { Directory, type Extent, type Inode, RegularFile, Symlink } from "./nodes.ts";
import { type Numbered, numberInodes } from "./numbering.ts";
import { blocksForContent, blocksOfSize, inodesPerGroup } from "./size.ts";
import { type SuperblockFields, encodeGroup, encodeSuperblock } from "./superblock.ts";
import { fitInInode, xattrBlock } from "./xattrs.ts";

/** Inodes that are written between two looks at what else there is to do. */
const DRAIN_INODES = 4096;

export interface Identity {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** Up to 16 bytes. */
  readonly label?: string | undefined;
}

export interface Ext4Summary {
  /** Of the file system and of the file. */
  readonly sizeBytes: number;
  /** What the tree takes: data, directories, attributes. */
  readonly usedBytes: number;
  /** Inodes of the tree, the root with them. */
  readonly files: number;
}

export class Ext4Writer {
  readonly #image: ImageWriter;
  readonly #allocator: BlockAllocator;
  readonly #sizeBytes: number | undefined;
  readonly #limitBlocks: number;
  readonly #mostBlocks: number;
  #seed = 0;
  #hashSeed: readonly number[] = [];
  #signal: AbortSignal | undefined;

  /** @param file open for writing, empty; the caller closes it
   *  @param sizeBytes of the file system; without it the size is chosen when all is there, with room for the guest
   *  @param limitBytes of what is stored, where no size is given @throws Ext4Error "too-small" */
  constructor(
    file: FileHandle,
    path: string,
    { sizeBytes, limitBytes }: { sizeBytes?: number | undefined; limitBytes: number },
  ) {
    this.#limitBlocks = Math.floor(limitBytes / BLOCK_BYTES);
    // Where the size is chosen later, the descriptors' number is not known: there is room for the most that may be.
    const most = sizeBytes === undefined ? blocksForContent(this.#limitBlocks) : blocksOfSize(sizeBytes);
    this.#image = new ImageWriter(file, path);
    this.#allocator = new BlockAllocator(most, 1 + descriptorBlocks(groupsFor(most)));
    this.#sizeBytes = sizeBytes;
    this.#mostBlocks = most;
  }

  /** Room for data. @throws Ext4Error "too-small" */
  allocate(blocks: number): BlockRange[] {
    if (this.#sizeBytes === undefined && this.#allocator.usedBlocks + blocks > this.#limitBlocks)
      throw new Ext4Error(
        "too-small",
        `There are more than ${Math.floor((this.#limitBlocks * BLOCK_BYTES) / 2 ** 20)} MiB of data: give a size for the disk if that is meant.`,
      );
    return this.#allocator.allocate(blocks);
  }
  /** Data that is no longer wanted. */
  free(ranges: readonly BlockRange[]): void {
    this.#allocator.free(ranges);
  }
  /** Writes data. @param at byte of the file system */
  write(at: number, bytes: Uint8Array): void {
    this.#image.seek(at);
    this.#image.write(bytes);
  }
  /** Zeros likewise. */
  zeros(at: number, count: number): void {
    this.#image.seek(at);
    this.#image.zeros(count);
  }
  /** To be awaited after each few MiB. @throws Ext4Error */
  async drain(): Promise<void> {
    await this.#image.drain();
  }
  /** Awaited before the file is closed after an error. */
  async settle(): Promise<void> {
    await this.#image.settle();
  }

  /** Writes all that is missing, and to the disk. @throws Ext4Error, the signal's reason, RangeError for a UUID that is none */
  async finish(root: Directory, { uuid, label = "" }: Identity, signal?: AbortSignal): Promise<Ext4Summary> {
    if (uuid.length !== 16) throw new RangeError(`A UUID has 16 bytes, not ${uuid.length}.`);
    this.#signal = signal;
    this.#seed = crc32c(0xffffffff, uuid);
    this.#hashSeed = [0, 4, 8, 12].map((at) => Buffer.from(uuid).readUInt32LE(at));
    const numbered = numberInodes(root);
    const placed = await this.#placeAll(numbered);
    const usedBytes = this.#allocator.usedBlocks * BLOCK_BYTES;
    const usedInodes = FIRST_INODE - 2 + numbered.inodes.length;
    const layout = this.#layOut(usedInodes);
    const journal = this.#placeJournal(layout);
    const area = await this.#writeInodes(layout, numbered.inodes, placed, journal);
    const directories = countByGroup(layout, numbered.links.keys());
    const groups = describeGroups(layout, this.#allocator, usedInodes, directories, this.#seed);
    const freeBlocks = this.#writeGroups(layout, groups);
    const inodes = layout.groups * layout.inodesPerGroup;
    const fields: SuperblockFields = {
      blocks: layout.blocks,
      freeBlocks,
      inodes,
      freeInodes: inodes - usedInodes,
      inodesPerGroup: layout.inodesPerGroup,
      overheadBlocks: overheadBlocks(layout) + journal.count,
      uuid,
      label,
      hashSeed: this.#hashSeed,
      journal: journal.count === 0 ? undefined : { area, sizeBytes: journal.count * BLOCK_BYTES },
    };
    for (const group of superblockGroups(layout)) this.write(superblockByte(group), encodeSuperblock(fields, group));
    const sizeBytes = this.#sizeBytes ?? layout.blocks * BLOCK_BYTES;
    await this.#image.finish(sizeBytes);
    return { sizeBytes, usedBytes, files: numbered.inodes.length };
  }

  /** The thread has others to serve, such as disks of VMs. */
  async #giveWay(): Promise<void> {
    await this.drain();
    await setImmediate();
    this.#signal?.throwIfAborted();
  }

  /** Places what inodes need beside their data. @returns what cannot be told from the inode alone */
  async #placeAll({ inodes, parents, links }: Numbered): Promise<Map<Inode, Placed>> {
    const placed = new Map<Inode, Placed>();
    let count = 0;
    for (const inode of inodes) {
      const content = this.#placeContent(inode, parents);
      const isPlain = content === undefined && (inode.xattrs.length === 0 || fitInInode(inode.xattrs));
      if (!isPlain) placed.set(inode, this.#complete(inode, content ?? contentOf(inode), links));
      if (++count % DRAIN_INODES === 0) await this.#giveWay();
    }
    return placed;
  }

  /** @returns undefined if there is nothing to place but what a file has already */
  #placeContent(inode: Inode, parents: ReadonlyMap<Directory, Directory>): Content | undefined {
    if (inode instanceof Directory) return this.#placeDirectory(inode, parents.get(inode)!);
    if (inode instanceof Symlink && linkBlocks(inode) > 0) {
      const extents = this.#store(Buffer.from(inode.target, "latin1"));
      return { sizeBytes: inode.target.length, extents, flags: 0 };
    }
    if (inode instanceof RegularFile && !fitsInRoot(cutExtents(inode.extents))) return contentOf(inode);
    return undefined;
  }

  #placeDirectory(directory: Directory, parent: Directory): Content {
    const entries = [...directory.entries].map(([name, { inode }]) => ({
      name,
      inode: inode.number,
      type: entryTypeOf(inode),
    }));
    const { content, isIndexed } = directoryBlocks(entries, {
      self: directory.number,
      parent: parent.number,
      inodeSeed: inodeSeed(this.#seed, directory.number),
      hashSeed: this.#hashSeed,
    });
    return { sizeBytes: content.length, extents: this.#store(content), flags: isIndexed ? INDEX_FL : 0 };
  }

  #complete(inode: Inode, content: Content, links: ReadonlyMap<Directory, number>): Placed {
    const extents = cutExtents(content.extents);
    const seed = inodeSeed(this.#seed, inode.number);
    const tree = fitsInRoot(extents) ? undefined : storeTree(extents, seed, (block) => this.#store(block)[0]!.start);
    const needsBlock = inode.xattrs.length > 0 && !fitInInode(inode.xattrs);
    const block = needsBlock ? this.#allocator.allocate(1)[0]!.start : 0;
    if (needsBlock) this.write(block * BLOCK_BYTES, xattrBlock(inode.xattrs, block, this.#seed));
    return {
      ...content,
      links: inode instanceof Directory ? links.get(inode)! : inode.links,
      blocks: blocksOf(extents) + (tree?.blocks ?? 0) + (needsBlock ? 1 : 0),
      extents,
      root: tree?.root,
      xattrBlock: block,
    };
  }

  /** Puts bytes into blocks of their own. */
  #store(content: Buffer): Extent[] {
    const extents: Extent[] = [];
    let done = 0;
    for (const { start, count } of this.#allocator.allocate(Math.ceil(content.length / BLOCK_BYTES))) {
      const part = content.subarray(done * BLOCK_BYTES, (done + count) * BLOCK_BYTES);
      this.write(start * BLOCK_BYTES, part);
      this.zeros(start * BLOCK_BYTES + part.length, count * BLOCK_BYTES - part.length);
      extents.push({ logical: done, start, count });
      done += count;
    }
    return extents;
  }

  #layOut(usedInodes: number): Layout {
    // Not what is used counts, but how far it goes: blocks in between may have been freed.
    const wanted = Math.min(blocksForContent(this.#allocator.end), this.#mostBlocks);
    const blocks = this.#sizeBytes === undefined ? wanted : this.#mostBlocks;
    const groups = groupsFor(blocks);
    const perGroup = inodesPerGroup(blocks, usedInodes);
    const forEachGroup = (count: number): number[] =>
      Array.from({ length: groups }, () => this.#allocator.allocateFresh(count).start);
    const blockBitmaps = forEachGroup(1);
    const inodeBitmaps = forEachGroup(1);
    const inodeTables = forEachGroup((perGroup * INODE_BYTES) / BLOCK_BYTES);
    return { blocks, groups, inodesPerGroup: perGroup, blockBitmaps, inodeBitmaps, inodeTables };
  }

  /** @returns the journal's blocks, of which there may be none */
  #placeJournal({ blocks }: Layout): BlockRange {
    const count = journalBlocks(blocks);
    if (count === 0) return { start: 0, count };
    // Never written before: nothing in it may look like a transaction.
    const range = this.#allocator.allocateFresh(count);
    this.write(range.start * BLOCK_BYTES, journalSuperblock(count));
    return range;
  }

  /** @returns the block area of the journal's inode */
  async #writeInodes(
    layout: Layout,
    inodes: readonly Inode[],
    placed: ReadonlyMap<Inode, Placed>,
    journal: BlockRange,
  ): Promise<Buffer> {
    const bytes = Buffer.alloc(INODE_BYTES);
    const put = (number: number): void => {
      const [group, index] = [Math.floor((number - 1) / layout.inodesPerGroup), (number - 1) % layout.inodesPerGroup];
      this.write(layout.inodeTables[group]! * BLOCK_BYTES + index * INODE_BYTES, bytes);
      bytes.fill(0);
    };
    const area = Buffer.alloc(JOURNAL_AREA.bytes);
    for (const inode of inodes) {
      encodeInode(bytes, inode, placed.get(inode) ?? plain(inode), this.#seed);
      put(inode.number);
      if (inode.number === ROOT_INODE && journal.count > 0) {
        encodeJournalInode(bytes, [{ logical: 0, ...journal }], JOURNAL_INODE, this.#seed);
        bytes.copy(area, 0, JOURNAL_AREA.at);
        put(JOURNAL_INODE);
      }
      if (inode.number % DRAIN_INODES === 0) await this.#giveWay();
    }
    return area;
  }

  /** Bitmaps and all copies of the descriptors. @returns free blocks of all */
  #writeGroups(layout: Layout, groups: Iterable<Group>): number {
    const descriptors = Buffer.alloc(descriptorBlocks(layout.groups) * BLOCK_BYTES);
    let freeBlocks = 0;
    let number = 0;
    for (const { fields, blockBitmap, inodeBitmap } of groups) {
      encodeGroup(descriptors.subarray(number * DESCRIPTOR_BYTES), number, fields, this.#seed);
      if (blockBitmap !== undefined) this.write(fields.blockBitmap * BLOCK_BYTES, blockBitmap);
      if (inodeBitmap !== undefined) this.write(fields.inodeBitmap * BLOCK_BYTES, inodeBitmap);
      freeBlocks += fields.freeBlocks;
      number++;
    }
    for (const group of superblockGroups(layout))
      this.write(group * BLOCKS_PER_GROUP * BLOCK_BYTES + BLOCK_BYTES, descriptors);
    return freeBlocks;
  }
}

/** Data of an inode, wherever it came from. */
type Content = Pick<Placed, "sizeBytes" | "extents" | "flags">;

function contentOf(inode: Inode): Content {
  if (inode instanceof RegularFile) return { sizeBytes: inode.sizeBytes, extents: inode.extents, flags: 0 };
  return { sizeBytes: inode instanceof Symlink ? inode.target.length : 0, extents: [], flags: 0 };
}

/** What is known of an inode that has nothing beside itself but data. */
function plain(inode: Inode): Placed {
  const content = contentOf(inode);
  const extents = cutExtents(content.extents);
  return { ...content, extents, links: inode.links, blocks: blocksOf(extents), xattrBlock: 0 };
}

const blocksOf = (extents: readonly Extent[]): number => extents.reduce((sum, { count }) => sum + count, 0);

function countByGroup(layout: Layout, directories: Iterable<Directory>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const directory of directories) {
    const group = Math.floor((directory.number - 1) / layout.inodesPerGroup);
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  return counts;
}

function superblockGroups({ groups }: Layout): number[] {
  return Array.from({ length: groups }, (_, group) => group).filter(hasSuperblock);
}

/** The first lies behind a boot sector, its copies at the start of their groups. */
const superblockByte = (group: number): number => (group === 0 ? 1024 : group * BLOCKS_PER_GROUP * BLOCK_BYTES);

function overheadBlocks(layout: Layout): number {
  const perGroup = 2 + (layout.inodesPerGroup * INODE_BYTES) / BLOCK_BYTES;
  return superblockGroups(layout).reduce(
    (sum, group) => sum + superblockBlocks(layout, group),
    layout.groups * perGroup,
  );
}
