/* Records of several files of kept code for one file: what is in two of them is in it once, and pages that have a record in common are one. @source docs/native.md "Kept code" */
import {
  Header,
  type HostBoot,
  isWholeFile,
  KeptFile,
  Place,
  recordFrom,
  recordKey,
  RecordStart,
  recordWords,
} from "./kept-file.ts";

/** Shorter ones are in pages that have nothing else in common. */
const LEAST_WORDS = 64;
const UNKNOWN_BOOT: HostBoot = [0, 0];
/** A page with more records than this gets no others. */
const MOST_OF_PAGE = 1024;

export class MergedRecords {
  /** Page of each record that was taken, by its key. */
  readonly #pageOf = new Map<string, number>();
  /** How many records a page has. */
  readonly #sizes: number[] = [];
  #places = new Int32Array(1024 * Place.WORDS);
  records = 0;
  /** In which all files were written that records were taken from. */
  boot: HostBoot;

  /** @param boot now */
  constructor(boot: HostBoot) {
    this.boot = boot;
  }

  /** Place.WORDS words a record. */
  get places(): Int32Array {
    return this.#places;
  }
  /** @param bytes of a file  @param at where the records that are taken will be in the new one  @returns them */
  take(bytes: Uint8Array, at: number): Uint8Array {
    if (!isWholeFile(bytes, bytes.length)) return new Uint8Array(0);
    const words = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    if (!new KeptFile(words, 0, this.boot).isSure) this.boot = UNKNOWN_BOOT;
    const pages = this.#pagesOf(words);
    // what is taken moves down to what was taken before
    let end = 0;
    for (const [from, length] of eachRecord(words)) {
      const key = recordKey(words, from);
      if (this.#pageOf.has(key)) continue;
      const page = this.#pageFor(pages, words[from + RecordStart.PAGE]);
      this.#pageOf.set(key, page);
      words[from + RecordStart.PAGE] = page;
      this.#note(words, from, at + 4 * end);
      words.copyWithin(end, from, from + length);
      end += length;
    }
    return new Uint8Array(words.buffer, 0, 4 * end);
  }
  /** By number in the file, pages that are known already. */
  #pagesOf(words: Int32Array): Map<number, number> {
    const pages = new Map<number, number>();
    for (const [from, length] of eachRecord(words)) {
      const page = words[from + RecordStart.PAGE];
      if (length < LEAST_WORDS || pages.has(page)) continue;
      const known = this.#pageOf.get(recordKey(words, from));
      if (known !== undefined) pages.set(page, known);
    }
    return pages;
  }
  /** The page for a record of the page that has this number in its file. */
  #pageFor(pages: Map<number, number>, number: number): number {
    let page = pages.get(number);
    if (page === undefined || this.#sizes[page] >= MOST_OF_PAGE) {
      page = this.#sizes.push(0) - 1;
      pages.set(number, page);
    }
    this.#sizes[page]++;
    return page;
  }
  #note(words: Int32Array, from: number, at: number): void {
    const place = Place.WORDS * this.records++;
    if (place === this.#places.length) {
      const longer = new Int32Array(2 * place);
      longer.set(this.#places);
      this.#places = longer;
    }
    this.#places[place + Place.HASH] = words[from + RecordStart.HASH];
    this.#places[place + Place.RECORD] = at;
    this.#places[place + Place.PAGE] = words[from + RecordStart.PAGE];
    this.#places[place + Place.FROM] = recordFrom(words, from);
  }
}

function* eachRecord(words: Int32Array): Generator<[at: number, length: number]> {
  const end = words[Header.PAGES] / 4;
  let length = 0;
  for (let at = Header.BYTES / 4; at < end; at += length) {
    length = recordWords(words, at);
    if (length === 0) return;
    yield [at, length];
  }
}
