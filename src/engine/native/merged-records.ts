/* Records of several files of kept code for one file: what is in two of them is in it once, and pages that have a record in common are one. @source docs/native.md "Kept code" */
import {
  Header,
  type HostBoot,
  isWholeFile,
  KeptFile,
  MOST_OF_PAGE,
  Places,
  recordFrom,
  recordKey,
  RecordStart,
  recordWords,
} from "./kept-file.ts";

/** Shorter ones are in pages that have nothing else in common. */
const LEAST_WORDS = 64;
const UNKNOWN_BOOT: HostBoot = [0, 0];

export class MergedRecords {
  /** Page of each record that was taken, by its key. */
  readonly #pageOf = new Map<string, number>();
  /** How many records a page has. */
  readonly #sizes: number[] = [];
  readonly places = new Places();
  /** In which all files were written that records were taken from. */
  boot: HostBoot;

  /** @param boot now */
  constructor(boot: HostBoot) {
    this.boot = boot;
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
      this.places.add(words[from + RecordStart.HASH], at + 4 * end, page, recordFrom(words, from));
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
