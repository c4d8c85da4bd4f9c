/* Reads a tar archive as its bytes come: give it pieces of any length, and it tells a sink of entries and their data at once, so that the pace is the caller's.
 * ustar, pax (POSIX.1-2017), GNU long names and links, base-256 numbers, sparse files of GNU tar in all its forms. Whatever the bytes are, memory is bounded.
 * Leaves out archives over several volumes, incremental dumps, and global pax headers, which container runtimes pass over too. */
import type { Xattr } from "../ext4/nodes.ts";
import { NO_XATTRS } from "../ext4/nodes.ts";
import { TarError, shown } from "./tar-error.ts";
import { TAR_BLOCK, type TarHeader, parseHeader, readNumber, readText } from "./tar-header.ts";
import { type PaxFields, parsePax, toNumber } from "./tar-pax.ts";

export type TarType = "file" | "link" | "symlink" | "character-device" | "block-device" | "directory" | "fifo";

/** Data of a sparse file. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

export interface TarEntry {
  readonly type: TarType;
  /** As it is in the archive, one character a byte. */
  readonly path: string;
  readonly linkPath: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly xattrs: readonly Xattr[];
  readonly major: number;
  readonly minor: number;
  /** Of the file, with its holes. */
  readonly sizeBytes: number;
  /** Where its data are, in order; the rest is holes. */
  readonly segments: readonly Segment[];
}

export interface TarSink {
  /** An entry begins. */
  entry(entry: TarEntry): void;
  /** Data of the entry that has begun, in order. The bytes are the sink's until it returns. @param offset in the file */
  data(bytes: Uint8Array, offset: number): void;
}

/** What describes an entry is longer than this in no archive that a tool wrote. */
const MAX_DESCRIPTION = 1 << 20;
const MAX_SEGMENTS = 1 << 16;
const TYPES: Readonly<Record<string, TarType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
};
/** Descriptions of the entry that follows, with their text as data. */
const DESCRIPTIONS = "xgLK";
const VOLUME_LABEL = "V";

/** What the next bytes are. */
type State = "header" | "description" | "old-sparse-map" | "new-sparse-map" | "data" | "padding" | "end";

export class TarReader {
  readonly #sink: TarSink;
  #state: State = "header";
  /** A block, or all of a description, that has not come whole yet. */
  #gathered: Buffer = Buffer.alloc(TAR_BLOCK);
  #filled = 0;
  #wanted = TAR_BLOCK;
  #header!: TarHeader;
  /** Bytes of the entry in the archive that have not come. */
  #left = 0;
  #padding = 0;
  #pax: PaxFields = {};
  #longName: string | undefined;
  #longLink: string | undefined;
  #segments: Segment[] = [];
  #segment = 0;
  #inSegment = 0;
  #map = "";
  #mapLines = 0;
  #realSize = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** @param piece is not kept @throws TarError, and what the sink throws */
  push(piece: Uint8Array): void {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let at = 0; at < bytes.length && this.#state !== "end";) at += this.#step(bytes, at);
  }

  /** No more bytes come. @returns whether the archive's end mark came, without which nobody can tell that nothing is missing
   *  @throws TarError "damaged" if it stops within an entry */
  finish(): boolean {
    if (this.#state === "end") return true;
    // Tools have written archives that lack what fills up the last block; Go's reader, and so docker, takes them.
    if (this.#state === "padding" && !this.#hasDescription()) return false;
    if (this.#state !== "header" || this.#filled > 0 || this.#hasDescription())
      throw new TarError("damaged", "it ends in the middle of an entry");
    return false;
  }

  /** @returns how many bytes were used */
  #step(bytes: Buffer, at: number): number {
    if (this.#state === "data") return this.#takeData(bytes, at);
    if (this.#state === "padding") {
      const count = Math.min(this.#padding, bytes.length - at);
      this.#padding -= count;
      if (this.#padding === 0) this.#expect("header", TAR_BLOCK);
      return count;
    }
    if (this.#filled === 0 && bytes.length - at >= this.#wanted) {
      const whole = this.#wanted;
      this.#complete(bytes.subarray(at, at + whole));
      return whole;
    }
    return this.#gather(bytes, at);
  }

  #gather(bytes: Buffer, at: number): number {
    const count = Math.min(this.#wanted - this.#filled, bytes.length - at);
    // Grows with what came, not with what a header promises.
    if (this.#gathered.length < this.#filled + count)
      this.#gathered = Buffer.concat([this.#gathered], Math.max(2 * this.#gathered.length, this.#filled + count));
    bytes.copy(this.#gathered, this.#filled, at, at + count);
    this.#filled += count;
    if (this.#filled === this.#wanted) {
      const whole = this.#gathered.subarray(0, this.#filled);
      this.#filled = 0;
      this.#complete(whole);
    }
    return count;
  }

  #expect(state: State, wanted: number): void {
    this.#state = state;
    this.#wanted = wanted;
  }

  #complete(bytes: Buffer): void {
    if (this.#state === "header") this.#takeHeader(bytes);
    else if (this.#state === "description") this.#takeDescription(bytes);
    else if (this.#state === "old-sparse-map") this.#takeOldMap(bytes, 0, 21, 504);
    else this.#takeNewMap(bytes);
  }

  #takeHeader(block: Buffer): void {
    const header = parseHeader(block);
    if (header === undefined) {
      if (this.#hasDescription()) throw new TarError("damaged", "it ends after a description of an entry");
      this.#state = "end";
      return;
    }
    this.#header = header;
    if (DESCRIPTIONS.includes(header.type)) {
      if (header.sizeBytes < 0 || header.sizeBytes > MAX_DESCRIPTION)
        throw new TarError("damaged", "a description of an entry is longer than 1 MiB");
      this.#padding = paddingOf(header.sizeBytes);
      this.#expect("description", header.sizeBytes);
      if (header.sizeBytes === 0) this.#complete(Buffer.alloc(0));
    } else this.#begin(block);
  }

  #takeDescription(bytes: Buffer): void {
    const { type } = this.#header;
    if (type === "x") this.#pax = parsePax(bytes);
    else if (type === "L") this.#longName = readText(bytes, 0, bytes.length);
    else if (type === "K") this.#longLink = readText(bytes, 0, bytes.length);
    this.#state = "padding";
    if (this.#padding === 0) this.#expect("header", TAR_BLOCK);
  }

  #hasDescription(): boolean {
    return Object.keys(this.#pax).length > 0 || this.#longName !== undefined || this.#longLink !== undefined;
  }

  /** A header that is no description: finds out where its data are. */
  #begin(block: Buffer): void {
    const { type } = this.#header;
    if (TYPES[type] === undefined && type !== VOLUME_LABEL)
      throw new TarError("unsupported", `${shown(this.#path())} is of type ${shown(type)}, which no image layer has`);
    const fields = this.#pax;
    // Links, directories and devices have no data whatever the header says, except that pax lets links have some; nobody writes those.
    const hasData = TYPES[type] === "file";
    this.#left = hasData ? (fields.sizeBytes ?? this.#header.sizeBytes) : 0;
    if (this.#left < 0) throw new TarError("damaged", `${shown(this.#path())} has a negative size`);
    this.#padding = paddingOf(this.#left);
    this.#realSize = this.#left;
    this.#segments = this.#left > 0 ? [{ offset: 0, length: this.#left }] : [];
    if (type === VOLUME_LABEL) return this.#afterEntry();
    if (type === "S") {
      this.#segments = [];
      this.#realSize = readNumber(block, 483, 12);
      this.#takeOldMap(block, 386, 4, 482);
    } else if (hasData && fields.sparseVersion?.startsWith("1.") === true) {
      this.#segments = [];
      this.#realSize = fields.realSizeBytes ?? this.#left;
      this.#map = "";
      this.#mapLines = 0;
      this.#expect("new-sparse-map", TAR_BLOCK);
    } else {
      if (hasData && fields.sparseMap !== undefined) {
        this.#segments = pairs(fields.sparseMap);
        this.#realSize = fields.realSizeBytes ?? this.#left;
      }
      this.#announce();
    }
  }

  /** GNU's old form: pairs of offset and length in the header and in blocks after it. @param more the byte that tells of another block */
  #takeOldMap(block: Buffer, at: number, count: number, more: number): void {
    for (let i = 0; i < count; i++) {
      const from = at + 24 * i;
      if (block[from] === 0) break;
      this.#addSegment(readNumber(block, from, 12), readNumber(block, from + 12, 12));
    }
    if (block[more] !== 0) this.#expect("old-sparse-map", TAR_BLOCK);
    else this.#announce();
  }

  /** The form of pax 1.0: lines with the count, then offset and length of each, in blocks before the data. */
  #takeNewMap(block: Buffer): void {
    this.#left -= TAR_BLOCK;
    if (this.#left < 0) throw new TarError("damaged", `${shown(this.#path())} has a map longer than its data`);
    this.#map += block.toString("latin1");
    const firstLine = this.#map.indexOf("\n");
    if (firstLine === -1 || firstLine > 16)
      throw new TarError("damaged", `${shown(this.#path())} has a map without a length`);
    const count = toNumber(this.#map.slice(0, firstLine));
    if (count > MAX_SEGMENTS)
      throw new TarError("unsupported", `${shown(this.#path())} has more than ${MAX_SEGMENTS} holes`);
    for (let at = block.indexOf(10); at !== -1; at = block.indexOf(10, at + 1)) this.#mapLines++;
    if (this.#mapLines > 2 * count) {
      const lines = this.#map.split("\n", 2 * count + 1);
      this.#segments = pairs(lines.slice(1).map(toNumber));
      return this.#announce();
    }
    this.#expect("new-sparse-map", TAR_BLOCK);
    if (this.#map.length > 40 * (count + 1) + TAR_BLOCK)
      throw new TarError("damaged", `${shown(this.#path())} has a map with lines too long`);
  }

  #addSegment(offset: number, length: number): void {
    if (this.#segments.length === MAX_SEGMENTS)
      throw new TarError("unsupported", `${shown(this.#path())} has more than ${MAX_SEGMENTS} holes`);
    this.#segments.push({ offset, length });
  }

  #path(): string {
    return this.#pax.sparseName ?? this.#pax.path ?? this.#longName ?? this.#header.name;
  }

  #announce(): void {
    const header = this.#header;
    const fields = this.#pax;
    const path = this.#path();
    const isOldDirectory = header.type === "\0" && path.endsWith("/");
    this.#segments = this.#checkSegments(path);
    this.#sink.entry({
      type: isOldDirectory ? "directory" : TYPES[header.type]!,
      path,
      linkPath: fields.linkPath ?? this.#longLink ?? header.linkName,
      mode: header.mode,
      uid: fields.uid ?? header.uid,
      gid: fields.gid ?? header.gid,
      mtimeSeconds: fields.mtime?.seconds ?? header.mtimeSeconds,
      mtimeNanos: fields.mtime?.nanos ?? 0,
      xattrs: fields.xattrs ?? NO_XATTRS,
      major: header.major,
      minor: header.minor,
      sizeBytes: this.#realSize,
      segments: this.#segments,
    });
    this.#afterEntry();
  }

  /** Segments are in order, apart, within the file, and as long together as the data that come. */
  #checkSegments(path: string): Segment[] {
    const segments = this.#segments.filter(({ length }) => length !== 0);
    let [end, sum] = [0, 0];
    for (const { offset, length } of segments) {
      if (length < 0 || offset < end || offset + length > this.#realSize)
        throw new TarError("damaged", `${shown(path)} has a map of holes that contradicts itself`);
      end = offset + length;
      sum += length;
    }
    if (sum !== this.#left)
      throw new TarError("damaged", `${shown(path)} has a map of holes that does not fit its data`);
    return segments;
  }

  #afterEntry(): void {
    this.#pax = {};
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#segment = 0;
    this.#inSegment = 0;
    if (this.#left > 0) this.#state = "data";
    else this.#afterData();
  }

  #afterData(): void {
    if (this.#padding > 0) this.#state = "padding";
    else this.#expect("header", TAR_BLOCK);
  }

  #takeData(bytes: Buffer, at: number): number {
    const { offset, length } = this.#segments[this.#segment] ?? { offset: 0, length: this.#left };
    const count = Math.min(length - this.#inSegment, bytes.length - at);
    this.#sink.data(bytes.subarray(at, at + count), offset + this.#inSegment);
    this.#inSegment += count;
    this.#left -= count;
    if (this.#inSegment === length) {
      this.#segment++;
      this.#inSegment = 0;
    }
    if (this.#left === 0) this.#afterData();
    return count;
  }
}

const paddingOf = (length: number): number => (TAR_BLOCK - (length % TAR_BLOCK)) % TAR_BLOCK;

/** @throws TarError "damaged" */
function pairs(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * MAX_SEGMENTS)
    throw new TarError("damaged", "a map of holes has an odd length");
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i]!,
    length: numbers[2 * i + 1]!,
  }));
}
