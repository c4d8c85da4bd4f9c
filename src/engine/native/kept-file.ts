/* A file of kept code: header, records, pages, index. A page has the records of one page of the guest's, or of several that came one after the other in the same frame: who needs one of
 * them soon needs others. @source docs/native.md "Kept code"; kept-code.ts, which says what is in a record */

/** u32 each. BOOT: two that say which run of the host's kernel the file was written in. PAGES: where the list of pages stands, u32 each, offsets of their tables; a table is the number of its places, and those in the order of FROM: see TablePlace. */
export const Header = { MAGIC: 0, RECORDS: 1, INDEX: 2, SLOTS: 3, PAGES: 4, BOOT: 5, BYTES: 32 } as const;
const MAGIC = 0x324b_434d;
/** Of the index, by hash: u32 hash and u32 offset of the record in the file, 0 none, the slots after hash % slots tried one after the other. */
const SLOT_WORDS = 2;
const SLOT_BYTES = 4 * SLOT_WORDS;
/** u32 each: offset of the block in the guest's page, and of the record in the file. */
const TablePlace = { FROM: 0, RECORD: 1, WORDS: 2 } as const;
/** What is known of a record outside of it, i32 each. */
export const Place = { HASH: 0, RECORD: 1, PAGE: 2, FROM: 3, WORDS: 4 } as const;

/** Places of the records of a file that is made. */
export class Places {
  /** Place.WORDS words each, of `count` records. */
  words = new Int32Array(1024 * Place.WORDS);
  count = 0;

  add(hash: number, record: number, page: number, from: number): void {
    const at = Place.WORDS * this.count++;
    if (at === this.words.length) {
      const longer = new Int32Array(2 * at);
      longer.set(this.words);
      this.words = longer;
    }
    this.words[at + Place.HASH] = hash;
    this.words[at + Place.RECORD] = record;
    this.words[at + Place.PAGE] = page;
    this.words[at + Place.FROM] = from;
  }
}
/** A page of a file that has so many records gets no others. */
export const MOST_OF_PAGE = 1024;

/** What a record begins with, u32 each: the key's hash, number of its page, sum of all words behind the sum, how many words it has and, from bit 16 on, the offset in the guest's page. */
export const RecordStart = { HASH: 0, PAGE: 1, SUM: 2, WORDS: 3 } as const;

/** Places by page: a table of the index of each page's first place in `order`, and of what follows the last; and the places in that order. */
function byPage(places: Int32Array, records: number): { readonly first: Int32Array; readonly order: Int32Array } {
  let pages = 0;
  for (let i = 0; i < records; i++) pages = Math.max(pages, places[i * Place.WORDS + Place.PAGE] + 1);
  const first = new Int32Array(pages + 1);
  for (let i = 0; i < records; i++) first[places[i * Place.WORDS + Place.PAGE] + 1]++;
  for (let page = 0; page < pages; page++) first[page + 1] += first[page];
  const next = first.slice();
  const order = new Int32Array(records);
  for (let i = 0; i < records; i++) order[next[places[i * Place.WORDS + Place.PAGE]]++] = i;
  const from = (i: number): number => places[i * Place.WORDS + Place.FROM];
  for (let page = 0; page < pages; page++)
    order.subarray(first[page], first[page + 1]).sort((a, b) => from(a) - from(b));
  return { first, order };
}
/** A run of the host's kernel; both 0: unknown. */
export type HostBoot = readonly [number, number];
/** What follows the records, and the header. @param places Place.WORDS words a record  @param at where the records end in the file */
export function endOf(
  places: Int32Array,
  records: number,
  at: number,
  boot: HostBoot,
): { readonly end: Uint8Array; readonly header: Uint8Array } {
  const { first, order } = byPage(places, records);
  const pages = first.length - 1;
  const slots = 2 ** Math.ceil(Math.log2(2 * records + 1));
  const listWords = pages;
  const tableWords = pages + TablePlace.WORDS * records;
  const words = new Int32Array(listWords + tableWords + SLOT_WORDS * slots);
  let next = listWords;
  for (let page = 0; page < pages; page++) {
    words[page] = at + 4 * next;
    words[next++] = first[page + 1] - first[page];
    for (let i = first[page]; i < first[page + 1]; i++) {
      const place = order[i] * Place.WORDS;
      words[next + TablePlace.FROM] = places[place + Place.FROM];
      words[next + TablePlace.RECORD] = places[place + Place.RECORD];
      next += TablePlace.WORDS;
    }
  }
  for (let i = 0; i < records; i++) addToIndex(words, next, slots, places, i * Place.WORDS);
  const header = new Uint32Array(Header.BYTES / 4);
  header[Header.MAGIC] = MAGIC;
  header[Header.RECORDS] = records;
  header[Header.PAGES] = at;
  header[Header.INDEX] = at + 4 * next;
  header[Header.SLOTS] = slots;
  header.set(boot, Header.BOOT);
  return { end: new Uint8Array(words.buffer), header: new Uint8Array(header.buffer) };
}
function addToIndex(words: Int32Array, index: number, slots: number, places: Int32Array, place: number): void {
  const hash = places[place + Place.HASH];
  let slot = hash & (slots - 1);
  while (words[index + SLOT_WORDS * slot + 1] !== 0) slot = (slot + 1) & (slots - 1);
  words[index + SLOT_WORDS * slot] = hash;
  words[index + SLOT_WORDS * slot + 1] = places[place + Place.RECORD];
}
/** Is a file's header that of a whole file? @param header its first Header.BYTES */
export function isWholeFile(header: Uint8Array, bytes: number): boolean {
  if (header.length < Header.BYTES) return false;
  const words = new Uint32Array(header.slice(0, Header.BYTES).buffer);
  const [index, slots] = [words[Header.INDEX], words[Header.SLOTS]];
  const isPowerOfTwo = slots > 0 && (slots & (slots - 1)) === 0;
  return (
    words[Header.MAGIC] === MAGIC &&
    isPowerOfTwo &&
    words[Header.PAGES] <= index &&
    index + slots * SLOT_BYTES === bytes &&
    words[Header.RECORDS] < slots
  );
}
/** How many words the record has that begins at word `at`; 0: there is none. */
export function recordWords(words: Int32Array, at: number): number {
  return words[at + RecordStart.WORDS] & 0xffff;
}
export function recordFrom(words: Int32Array, at: number): number {
  return words[at + RecordStart.WORDS] >>> 16;
}
/** The same for records that are the same, whatever page they were in. */
export function recordKey(words: Int32Array, at: number): string {
  return `${words[at + RecordStart.HASH]} ${words[at + RecordStart.SUM]}`;
}

/** Goes through the records of one file of mapped memory that have a hash, or that have a place in a page. */
export class KeptFile {
  readonly #words: Int32Array;
  /** Offset of the file in the memory. */
  readonly #file: number;
  readonly #index: number;
  readonly #mask: number;
  readonly #pages: number;

  /** It was written since the host started, so that the power has not gone since: nothing of it can be missing. */
  readonly isSure: boolean;

  /** @param words the memory  @param file offset in it, a multiple of 4  @param boot now */
  constructor(words: Int32Array, file: number, boot: HostBoot) {
    this.#words = words;
    this.#file = file;
    const header = file >> 2;
    const [first, second] = [words[header + Header.BOOT] >>> 0, words[header + Header.BOOT + 1] >>> 0];
    this.isSure = (first !== 0 || second !== 0) && first === boot[0] && second === boot[1];
    this.#index = (file + words[header + Header.INDEX]) >> 2;
    this.#mask = words[header + Header.SLOTS] - 1;
    this.#pages = (file + words[header + Header.PAGES]) >> 2;
  }
  /** @param accept of a record's offset in the memory  @returns the first one that is accepted, 0: none */
  byHash(hash: number, accept: (record: number) => boolean): number {
    const words = this.#words;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = this.#index + SLOT_WORDS * slot;
      const record = words[at + 1];
      if (record === 0) return 0;
      if (words[at] === hash && accept(this.#file + record)) return this.#file + record;
    }
  }
  /** The table of a record's page: index of its first word. */
  tableOf(record: number): number {
    const words = this.#words;
    return (this.#file + words[this.#pages + words[(record >> 2) + RecordStart.PAGE]]) >> 2;
  }
  /** As byHash, for blocks at an offset in the page of a table. */
  byPlace(table: number, from: number, accept: (record: number) => boolean): number {
    const words = this.#words;
    const first = table + 1 + TablePlace.FROM;
    let [low, high] = [0, words[table]];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (words[first + TablePlace.WORDS * middle] < from) low = middle + 1;
      else high = middle;
    }
    for (; low < words[table]; low++) {
      const at = first + TablePlace.WORDS * low;
      if (words[at] !== from) return 0;
      const record = this.#file + words[at + TablePlace.RECORD];
      if (accept(record)) return record;
    }
    return 0;
  }
}
