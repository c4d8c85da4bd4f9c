/* Native code of blocks, kept for later: records in files, which are mapped behind the executor's own code, and the records of blocks that were not there. A record is found by the first
 * bytes of the guest's code and their place in the page, and is used only where all bytes of the guest's that the code depends on are the same. It has the code as the translator wrote
 * it, before any jump to another block was filled in, and where that must be changed to stand elsewhere. @source docs/native.md "Kept code" */
import type { Written } from "./block-translator.ts";
import { type Assembler, MOST_RELATIVES } from "./assembler.ts";
import type { JumpList } from "./jumps.ts";
import { Header, type HostBoot, KeptFile, MOST_OF_PAGE, Places, recordWords } from "./kept-file.ts";
import { blockStart, inWords } from "./operands.ts";

const PAGE = 4096;
/** The key's share of the guest's code. */
const HASHED_BYTES = 16;
const [HASH_START, HASH_FACTOR] = [0x811c9dc5 | 0, 0x01000193];
/** Records are written to their file in pieces of this size. */
const CHUNK_BYTES = 1 << 20;
/** A run keeps no more than this. */
const MOST_BYTES = 128 << 20;

/** A record's numbers, u16 each, the first ones those of RecordStart; behind them those of the displacements' places, by kind, those of `sites`, the guest's bytes, and the code. */
const Field = {
  /** u32 each: the key's hash; number of its page in the file; sum of all words behind it. */
  HASH: 0,
  PAGE: 2,
  SUM: 4,
  /** u32 words that it has. */
  WORDS: 6,
  FROM: 7,
  TO: 8,
  AHEAD_FROM: 9,
  AHEAD_TO: 10,
  /** Instructions, and Mark. */
  COUNT: 11,
  /** Bytes of code that often runs, and of the other. */
  HOT: 12,
  COLD: 13,
  /** Numbers of places: one of each Kind. */
  KINDS: 14,
  SITES: 20,
  /** How many numbers there are behind these. */
  BEHIND: 21,
  NUMBERS: 22,
} as const;
const Mark = { COUNT: 0xff, KERNEL: 0x100, COPIES: 0x200 } as const;
/** What a place in the code has: a displacement from the one part to the other or to what all blocks share, or the offset of something in one of the parts. */
const Kind = {
  HOT_TO_COLD: 0,
  HOT_TO_SHARED: 1,
  COLD_TO_HOT: 2,
  COLD_TO_SHARED: 3,
  HOT_OFFSET: 4,
  COLD_OFFSET: 5,
} as const;
const KINDS = 6;
const NO_KIND = -1;
/** Bytes that make multiples of 4 in a record. */
const MOST_FILLED = 9;

/** Files, as the host gives them. */
export interface KeptFiles {
  /** Offsets in the memory for code, multiples of 4, of those that are mapped there. */
  readonly mapped: readonly number[];
  /** In which run of the host's kernel we are. */
  readonly boot: HostBoot;
  /** New records go to a file of their own. */
  append(records: Uint8Array): void;
  /** What was appended is a file now. @param places of the records, Place.WORDS words each  @param records how many they are  @param last there will be no more of them */
  finish(places: Int32Array, records: number, last: boolean): void;
  /** These of `mapped` had something, by number. */
  used(files: readonly number[]): void;
}

/** Hash of what a block is found by. */
function hashOf(bytes: Uint8Array, page: number, from: number, kernel: boolean): number {
  let hash = Math.imul(HASH_START ^ (from | (kernel ? PAGE : 0)), HASH_FACTOR);
  const end = page + Math.min(from + HASHED_BYTES, PAGE);
  for (let at = page + from; at < end; at++) hash = Math.imul(hash ^ bytes[at], HASH_FACTOR);
  return hash ^ (hash >>> 15);
}
/** Sum of a record's words behind the sum: files of a machine that lost its power may have gaps. */
function sumOf(words: Int32Array, at: number): number {
  const end = at + recordWords(words, at);
  let sum = 1;
  let sums = 0;
  for (let i = at + (Field.WORDS >> 1); i < end; i++) {
    sum = (sum + words[i]) | 0;
    sums = (sums + sum) | 0;
  }
  return sum ^ ((sums << 16) | (sums >>> 16));
}

/** What has to be added at a place of that kind. @param hot, cold where the parts of the code are */
function distance(kind: number, hot: number, cold: number): number {
  if (kind === Kind.HOT_TO_COLD) return cold - hot;
  if (kind === Kind.HOT_TO_SHARED) return -hot;
  if (kind === Kind.COLD_TO_HOT) return hot - cold;
  if (kind === Kind.COLD_TO_SHARED) return -cold;
  return kind === Kind.HOT_OFFSET ? hot : cold;
}
/** Up to the next multiple of 4. @returns that */
function fill(bytes: Uint8Array, at: number): number {
  while (at % 4 !== 0) bytes[at++] = 0;
  return at;
}
/** Short pieces. @returns offset behind the copy */
function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  while (start < end) to[at++] = from[start++];
  return at;
}

/** Where one of the assembler's `relatives` stands. */
const placeOf = (relative: number): number => (relative < 0 ? -1 - relative : relative);

/** New records. */
class Chunk {
  readonly bytes = new Uint8Array(CHUNK_BYTES);
  readonly halves = new Uint16Array(this.bytes.buffer);
  readonly words = new Int32Array(this.bytes.buffer);
  readonly view = new DataView(this.bytes.buffer);
  used = 0;
}

export class KeptCode {
  readonly #a: Assembler;
  readonly #files: KeptFiles;
  readonly #bytes: Uint8Array;
  readonly #opened: readonly KeptFile[];
  /** Their numbers, those first in which something was found last. */
  readonly #recent: number[];
  /** How often something was found, by file. */
  readonly #uses: Int32Array;
  /** What is looked for, and the best that was found. */
  #guest: Uint8Array = new Uint8Array(0);
  #page = 0;
  #from = 0;
  #kernel = false;
  #copies = false;
  #found = 0;
  /** Is the file that is looked through surely whole? */
  #isSure = false;
  /** Where the last block was found. */
  #file: KeptFile | undefined;
  #table = 0;
  readonly #halves: Uint16Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  /** New records that are in no file yet. */
  #chunk: Chunk | undefined;
  /** Of each of the assembler's `relatives`. */
  readonly #kinds = new Int8Array(MOST_RELATIVES);
  /** Bytes of new records, and of those that are not in a finished file. */
  #total = 0;
  #fileBytes = 0;
  /** Of new records. */
  #places = new Places();
  /** By address of the guest's page: its number in the new file; and how many records it has. */
  readonly #pages = new Map<number, number>();
  #pageRecords: number[] = [];

  /** End of what all blocks share. */
  readonly #shared: number;

  /** @param memory with the executor's code at its beginning, and the files  @param shared end of what all blocks share */
  constructor(memory: Uint8Array, a: Assembler, shared: number, files: KeptFiles) {
    this.#shared = shared;
    this.#a = a;
    this.#files = files;
    this.#uses = new Int32Array(files.mapped.length);
    const { buffer, byteOffset, length } = memory;
    this.#bytes = memory;
    this.#halves = new Uint16Array(buffer, byteOffset, length >> 1);
    this.#words = new Int32Array(buffer, byteOffset, length >> 2);
    this.#view = new DataView(buffer, byteOffset, length);
    this.#opened = files.mapped.map((file) => new KeptFile(this.#words, file, files.boot));
    this.#recent = [...this.#opened.keys()];
  }

  /** @returns offset of the record for a block of the guest's, 0: there is none. @param page, from as for BlockCompiler.compile  @param copies must it be for accesses in two pages? */
  find(guest: Uint8Array, page: number, from: number, kernel: boolean, copies: boolean): number {
    this.#want(guest, page, from, kernel, copies);
    const hash = hashOf(guest, page, from, kernel);
    const recent = this.#recent;
    for (let i = 0; i < recent.length; i++) {
      const n = recent[i];
      const file = this.#opened[n];
      this.#isSure = file.isSure;
      file.byHash(hash, this.#look);
      const found = this.#found;
      if (found === 0) continue;
      this.#uses[n]++;
      this.#file = file;
      this.#table = file.tableOf(found);
      // most likely the next one is in that file, too
      for (; i > 0; i--) recent[i] = recent[i - 1];
      recent[0] = n;
      return found;
    }
    return 0;
  }
  /** The same for another block of the page that the last one was found in: whoever kept that one. */
  findNear(guest: Uint8Array, page: number, from: number, kernel: boolean, copies: boolean): number {
    this.#want(guest, page, from, kernel, copies);
    this.#isSure = this.#file!.isSure;
    this.#file!.byPlace(this.#table, from, this.#look);
    return this.#found;
  }
  #want(guest: Uint8Array, page: number, from: number, kernel: boolean, copies: boolean): void {
    this.#guest = guest;
    this.#page = page;
    this.#from = from;
    this.#kernel = kernel;
    this.#copies = copies;
    this.#found = 0;
  }
  /** Is it for accesses in two pages as well? Where there are two, that is the one. */
  hasCopies(record: number): boolean {
    return (this.#halves[(record >> 1) + Field.COUNT] & Mark.COPIES) !== 0;
  }
  /** Is it what is wanted? @returns need others not be looked at? */
  readonly #look = (record: number): boolean => {
    const copies = this.hasCopies(record);
    if ((this.#copies && !copies) || !this.#isWanted(record)) return false;
    this.#found = record;
    return copies;
  };
  #isWanted(record: number): boolean {
    const halves = this.#halves;
    const at = record >> 1;
    const from = this.#from;
    if (halves[at + Field.FROM] !== from) return false;
    if (((halves[at + Field.COUNT] & Mark.KERNEL) !== 0) !== this.#kernel) return false;
    const [guest, page] = [this.#guest, this.#page];
    const to = halves[at + Field.TO];
    const aheadFrom = halves[at + Field.AHEAD_FROM];
    const bytes = this.#bytes;
    let kept = this.#guestBytes(record);
    for (let i = page + from; i < page + to; i++) if (guest[i] !== bytes[kept++]) return false;
    const end = page + halves[at + Field.AHEAD_TO];
    for (let i = page + aheadFrom; i < end; i++) if (guest[i] !== bytes[kept++]) return false;
    return this.#isSure || sumOf(this.#words, record >> 2) === this.#words[(record >> 2) + (Field.SUM >> 1)];
  }
  /** Where the guest's bytes stand. */
  #guestBytes(record: number): number {
    return record + 2 * (Field.NUMBERS + this.#halves[(record >> 1) + Field.BEHIND]);
  }
  /** Writes the code of a record where the assembler is, and at `coldAt`. @param written gets what is known of it  @param jumps get its sites  @returns offset behind what was written there */
  load(record: number, coldAt: number, written: Written, jumps: JumpList): number {
    const halves = this.#halves;
    const at = record >> 1;
    const from = halves[at + Field.FROM];
    written.count = halves[at + Field.COUNT] & Mark.COUNT;
    written.copies = this.hasCopies(record);
    written.to = halves[at + Field.TO];
    written.aheadFrom = halves[at + Field.AHEAD_FROM];
    written.aheadTo = halves[at + Field.AHEAD_TO];
    const hot = (written.code = blockStart(this.#a.at));
    const cold = (written.cold = inWords(coldAt));
    const hotBytes = halves[at + Field.HOT];
    const coldBytes = halves[at + Field.COLD];
    const guestBytes = written.to - from + written.aheadTo - written.aheadFrom;
    const code = inWords(this.#guestBytes(record) + guestBytes);
    this.#copyWords(code, hot, hotBytes);
    this.#copyWords(code + inWords(hotBytes), cold, coldBytes);
    let places = at + Field.NUMBERS;
    for (let kind = 0; kind < KINDS; kind++) {
      const count = halves[at + Field.KINDS + kind];
      if (count === 0) continue;
      const base = kind === Kind.HOT_TO_COLD || kind === Kind.HOT_TO_SHARED ? hot : cold;
      places = this.#move(places, count, base, distance(kind, hot, cold));
    }
    for (let n = halves[at + Field.SITES]; n > 0; n--) {
      const site = halves[places];
      jumps.add(site < hotBytes ? hot + site : cold + site - hotBytes, halves[places + 1]);
      places += 2;
    }
    this.#a.at = hot + hotBytes;
    return cold + coldBytes;
  }
  /** Copies code, and up to 3 bytes behind it. (For so little, copyWithin takes longer.) */
  #copyWords(from: number, to: number, bytes: number): void {
    const words = this.#words;
    const end = (from + bytes + 3) >> 2;
    for (let i = from >> 2, at = to >> 2; i < end; i++) words[at++] = words[i];
  }
  /** Adds to numbers in the code. @param places index of the first's place  @returns index behind them */
  #move(places: number, count: number, base: number, by: number): number {
    const view = this.#view;
    const end = places + count;
    for (let i = places; i < end; i++) {
      const at = base + this.#halves[i];
      view.setInt32(at, view.getInt32(at, true) + by, true);
    }
    return end;
  }

  /** Keeps a block that the translator has just written. @param coldEnd end of its cold part */
  note(guest: Uint8Array, page: number, from: number, kernel: boolean, written: Written, coldEnd: number): void {
    const { code, cold, to, aheadFrom, aheadTo, sites, count } = written;
    const a = this.#a;
    const [hotBytes, coldBytes] = [a.at - code, coldEnd - cold];
    const guestBytes = to - from + aheadTo - aheadFrom;
    const most = 2 * (Field.NUMBERS + a.relativeCount + sites.length) + guestBytes + hotBytes + coldBytes + MOST_FILLED;
    if (a.relativeCount > a.relatives.length || most >= 0x1_0000 || this.#total + most > MOST_BYTES) return;
    const chunk = (this.#chunk ??= new Chunk());
    if (chunk.used + most + 4 > CHUNK_BYTES) this.#flush();
    const begin = chunk.used;
    const { halves, words, bytes } = chunk;
    const at = begin >> 1;
    halves[at + Field.FROM] = from;
    halves[at + Field.TO] = to;
    halves[at + Field.AHEAD_FROM] = aheadFrom;
    halves[at + Field.AHEAD_TO] = aheadTo;
    halves[at + Field.COUNT] = count | (kernel ? Mark.KERNEL : 0) | (written.copies ? Mark.COPIES : 0);
    halves[at + Field.HOT] = hotBytes;
    halves[at + Field.COLD] = coldBytes;
    halves[at + Field.SITES] = sites.length >> 1;
    this.#classify(code, cold);
    const behind = this.#notePlaces(halves, at, written, cold);
    halves[at + Field.BEHIND] = behind - at - Field.NUMBERS;
    let end = 2 * behind;
    end = copy(guest, page + from, page + to, bytes, end);
    end = fill(bytes, copy(guest, page + aheadFrom, page + aheadTo, bytes, end));
    const hot = end;
    end = fill(bytes, copy(this.#bytes, code, a.at, bytes, end));
    const copied = end;
    end = fill(bytes, copy(this.#bytes, cold, coldEnd, bytes, end));
    this.#moveToZero(chunk.view, hot, copied, code, cold);
    halves[at + Field.WORDS] = (end - begin) >> 2;
    const word = begin >> 2;
    const hash = hashOf(guest, page, from, kernel);
    words[word + (Field.HASH >> 1)] = hash;
    words[word + (Field.PAGE >> 1)] = this.#numberOf(page);
    words[word + (Field.SUM >> 1)] = sumOf(words, word);
    chunk.used = end;
    this.#places.add(hash, Header.BYTES + this.#fileBytes, words[word + (Field.PAGE >> 1)], from);
    this.#total += end - begin;
    this.#fileBytes += end - begin;
  }
  /** Of a page of the guest's. */
  #numberOf(page: number): number {
    let number = this.#pages.get(page);
    // beyond that, other code has taken the page's place, most likely
    if (number === undefined || this.#pageRecords[number] >= MOST_OF_PAGE) {
      number = this.#pageRecords.push(0) - 1;
      this.#pages.set(page, number);
    }
    this.#pageRecords[number]++;
    return number;
  }
  /** Which Kind the places are of that have to be changed. */
  #classify(code: number, cold: number): void {
    const { relatives, relativeCount, at: end } = this.#a;
    const view = this.#view;
    const kinds = this.#kinds;
    for (let i = 0; i < relativeCount; i++) {
      const at = relatives[i];
      if (at < 0) {
        kinds[i] = view.getInt32(placeOf(at), true) < cold ? Kind.HOT_OFFSET : Kind.COLD_OFFSET;
        continue;
      }
      const isHot = at < cold;
      const target = at + 4 + view.getInt32(at, true);
      if (target < this.#shared) kinds[i] = isHot ? Kind.HOT_TO_SHARED : Kind.COLD_TO_SHARED;
      else if (isHot) kinds[i] = target < cold ? NO_KIND : Kind.HOT_TO_COLD;
      else kinds[i] = target >= code && target < end ? Kind.COLD_TO_HOT : NO_KIND;
    }
  }
  /** @returns index in `halves` behind what it wrote */
  #notePlaces(halves: Uint16Array, record: number, { code, sites }: Written, cold: number): number {
    const { relatives, relativeCount, at: end } = this.#a;
    const kinds = this.#kinds;
    let next = record + Field.NUMBERS;
    for (let kind = 0; kind < KINDS; kind++) {
      const first = next;
      for (let i = 0; i < relativeCount; i++) {
        if (kinds[i] !== kind) continue;
        const at = placeOf(relatives[i]);
        halves[next++] = at < cold ? at - code : at - cold;
      }
      halves[record + Field.KINDS + kind] = next - first;
    }
    for (let i = 0; i < sites.length; i += 2) {
      halves[next++] = sites[i] < cold ? sites[i] - code : end - code + sites[i] - cold;
      halves[next++] = sites[i + 1];
    }
    return next;
  }
  /** Makes a copy of a block's code what it would be with both parts at 0. */
  #moveToZero(view: DataView, hotCopied: number, coldCopied: number, code: number, cold: number): void {
    const { relatives, relativeCount } = this.#a;
    const kinds = this.#kinds;
    for (let i = 0; i < relativeCount; i++) {
      const kind = kinds[i];
      if (kind === NO_KIND) continue;
      const by = distance(kind, code, cold);
      const at = placeOf(relatives[i]);
      const to = at < cold ? hotCopied + at - code : coldCopied + at - cold;
      view.setInt32(to, view.getInt32(to, true) - by, true);
    }
  }
  #flush(): void {
    const chunk = this.#chunk;
    if (chunk === undefined || chunk.used === 0) return;
    this.#files.append(chunk.bytes.subarray(0, chunk.used));
    chunk.used = 0;
  }
  /** There is time: others can have what is new, if it is much. */
  keep(): void {
    if (this.#fileBytes >= CHUNK_BYTES) this.#finish(false);
  }
  /** No more blocks will come. */
  finish(): void {
    this.#files.used([...this.#uses.keys()].filter((n) => this.#uses[n] > 0));
    if (this.#places.count > 0) this.#finish(true);
  }
  #finish(last: boolean): void {
    this.#flush();
    this.#chunk = undefined;
    this.#files.finish(this.#places.words, this.#places.count, last);
    this.#places = new Places();
    this.#fileBytes = 0;
    this.#pages.clear();
    this.#pageRecords = [];
  }
}
