/* Kept code is what the translator would write, wherever it stands, and is used for the same code only. */
import assert from "node:assert/strict";
import { closeSync, openSync, readSync } from "node:fs";
import { describe, test } from "node:test";
import { Assembler } from "./assembler.ts";
import { BlockTranslator, newWritten, Pages, type Written } from "./block-translator.ts";
import { JumpList } from "./jumps.ts";
import { KeptCode, type KeptFiles } from "./kept-code.ts";
import { endOf, Header, type HostBoot, KeptFile, Place, RecordStart, recordWords } from "./kept-file.ts";
import { writeRoutines } from "./routines.ts";

const PAGE = 4096;
const PAGES = 16;
/** Of Node's own file: there is code. */
const PLACE = 0x180_0000;
const CODE_BYTES = 8 << 20;
const COLD = 4 << 20;
/** When files are written, and when they are read: so what is in them is looked at. */
const BOOT: HostBoot = [0x9000_0001, 2];
const LATER: HostBoot = [0x9000_0001, 3];
const MEMORY_BYTES = CODE_BYTES + (8 << 20);
const ADDRESSES = {
  stateAddress: 0x7f00_0000_0000n,
  clockAddress: 0x7d00_0000_0000n,
  tablesAddress: 0x7c00_0000_0000n,
  codeEntryBytes: 16,
};

function someCode(): Uint8Array {
  const bytes = new Uint8Array(PAGES * PAGE);
  const fd = openSync(process.execPath, "r");
  assert.equal(readSync(fd, bytes, 0, bytes.length, PLACE), bytes.length);
  closeSync(fd);
  return bytes;
}

/** A translator with memory of its own. */
class Workshop {
  readonly memory = new Uint8Array(MEMORY_BYTES);
  readonly a = new Assembler(this.memory.subarray(0, CODE_BYTES));
  readonly translator: BlockTranslator;
  readonly shared: number;

  constructor() {
    this.a.at = 16;
    const routines = writeRoutines(this.a, ADDRESSES);
    this.shared = this.a.at;
    this.translator = new BlockTranslator(this.a, routines);
    this.translator.cold = COLD;
  }
  /** @param pages Pages */
  translate(guest: Uint8Array, page: number, from: number, pages: number): Written {
    return this.translator.translate(guest, page, from, PAGE, 64, false, pages);
  }
  keeping(files: Partial<KeptFiles>): KeptCode {
    const nothing: KeptFiles = {
      boot: LATER,
      mapped: [],
      append: () => undefined,
      finish: () => undefined,
      used: () => undefined,
    };
    return new KeptCode(this.memory, this.a, this.shared, { ...nothing, ...files });
  }
}
/** Where blocks begin, one behind the other. */
function* places(
  guest: Uint8Array,
  workshop: Workshop,
  pages: number = Pages.ONE,
): Generator<[page: number, from: number, Written]> {
  for (let page = 0; page < guest.length; page += PAGE) {
    for (let from = 0; from < PAGE;) {
      const written = workshop.translate(guest, page, from, pages);
      if (written.count > 0) yield [page, from, written];
      from = written.count > 0 ? written.to : from + 1;
    }
  }
}
/** A file of all blocks. */
function fileOf(guest: Uint8Array, pages: number): { readonly file: Uint8Array; readonly blocks: number } {
  const workshop = new Workshop();
  const { a, translator } = workshop;
  const parts: Uint8Array[] = [];
  let file: Uint8Array = new Uint8Array(0);
  let blocks = 0;
  const kept = workshop.keeping({
    append: (records) => parts.push(records.slice()),
    finish: (places, records) => {
      const at = parts.reduce<number>((bytes, part) => bytes + part.length, Header.BYTES);
      const { end, header } = endOf(places, records, at, BOOT);
      file = new Uint8Array(Buffer.concat([header, ...parts, end]));
    },
  });
  const start = a.at;
  for (const [page, from, written] of places(guest, workshop, pages)) {
    blocks++;
    kept.note(guest, page, from, false, written, translator.cold);
    a.at = start;
    translator.cold = COLD;
  }
  kept.finish();
  return { file, blocks };
}

const guest = someCode();
const { file, blocks } = fileOf(guest, Pages.ONE);

describe("kept code", () => {
  for (const [name, pages] of Object.entries({ "in one page": Pages.ONE, "in two, too": Pages.BOTH })) {
    test(`is what the translator would have written there: accesses ${name}`, () => {
      const { file, blocks } = fileOf(guest, pages);
      assert.ok(blocks > 1000, `${blocks} blocks`);
      const [direct, loading] = [new Workshop(), new Workshop()];
      loading.memory.set(file, CODE_BYTES);
      const kept = loading.keeping({ mapped: [CODE_BYTES] });
      const loaded = newWritten();
      let cold = COLD;
      for (const [page, from, written] of places(guest, direct, pages)) {
        const record = kept.find(guest, page, from, false, false);
        assert.notEqual(record, 0);
        const jumps = new JumpList();
        cold = kept.load(record, cold, loaded, jumps);
        loaded.sites = [...jumps.words.subarray(0, jumps.length)];
        const { code: hot, cold: before } = loaded;
        assert.deepEqual(loaded, written);
        assert.equal(loading.a.at, direct.a.at);
        assert.equal(cold, direct.translator.cold);
        assert.deepEqual(loading.memory.subarray(hot, loading.a.at), direct.memory.subarray(hot, direct.a.at));
        assert.deepEqual(loading.memory.subarray(before, cold), direct.memory.subarray(before, cold));
      }
    });
  }

  test("is not found where a byte is another, in another place, or for the kernel", () => {
    const loading = new Workshop();
    loading.memory.set(file, CODE_BYTES);
    const kept = loading.keeping({ mapped: [CODE_BYTES] });
    let looked = 0;
    for (const [page, from, { to }] of places(guest, new Workshop())) {
      if (to - from < 4 || looked++ > 500) continue;
      assert.notEqual(kept.find(guest, page, from, false, false), 0);
      assert.equal(kept.find(guest, page, from, true, false), 0);
      const changed = guest.slice(page, page + PAGE);
      changed[to - 1] ^= 1;
      assert.equal(kept.find(changed, 0, from, false, false), 0);
    }
    assert.ok(looked > 500);
  });

  test("that is not what was written is not used", () => {
    const loading = new Workshop();
    loading.memory.set(file, CODE_BYTES);
    const words = new Int32Array(loading.memory.buffer, CODE_BYTES);
    const kept = loading.keeping({ mapped: [CODE_BYTES] });
    let changed = 0;
    for (const [page, from] of places(guest, new Workshop())) {
      const record = kept.find(guest, page, from, false, false);
      const at = (record - CODE_BYTES) >> 2;
      // one bit of any word from the sum on
      words[at + RecordStart.SUM + (changed++ % (recordWords(words, at) - RecordStart.SUM))] ^= 0x1_0000;
      assert.equal(kept.find(guest, page, from, false, false), 0);
    }
    assert.equal(changed, blocks);
  });

  test("comes with what was kept of the same page, and nothing of others", () => {
    const loading = new Workshop();
    loading.memory.set(file, CODE_BYTES);
    const kept = loading.keeping({ mapped: [CODE_BYTES] });
    const first = new Map<number, number>();
    let near = 0;
    for (const [page, from] of places(guest, new Workshop())) {
      if (!first.has(page)) first.set(page, from);
      assert.notEqual(kept.find(guest, page, first.get(page)!, false, false), 0);
      assert.equal(kept.findNear(guest, page, from, false, false), kept.find(guest, page, from, false, false));
      near++;
      // where no block begins
      assert.equal(kept.findNear(guest, page, PAGE - 1, false, false), 0);
    }
    assert.equal(near, blocks);
  });
  test("for accesses in two pages is taken where it has to be, and where there is the choice", () => {
    const both = fileOf(guest, Pages.BOTH).file;
    const loading = new Workshop();
    loading.memory.set(file, CODE_BYTES);
    const only = loading.keeping({ mapped: [CODE_BYTES] });
    const second = CODE_BYTES + Math.ceil(file.length / 4) * 4;
    loading.memory.set(both, second);
    const kept = loading.keeping({ mapped: [CODE_BYTES, second] });
    let looked = 0;
    for (const [page, from] of places(guest, new Workshop())) {
      if (looked++ > 200) break;
      assert.equal(only.find(guest, page, from, false, true), 0);
      const record = kept.find(guest, page, from, false, true);
      assert.ok(record >= second && kept.hasCopies(record));
      assert.equal(kept.findNear(guest, page, from, false, false), record);
    }
  });

  test("has an index in which each record is found, also of the same hash, and tables by page", () => {
    // hash, record, page, from
    const known = [
      [5, 32, 0, 8],
      [5, 64, 1, 4],
      [-1, 96, 0, 4],
      [7, 128, 0, 4],
    ];
    const words = new Int32Array(512);
    const at = 160;
    const { end, header } = endOf(Int32Array.from(known.flat()), known.length, at, BOOT);
    const bytes = new Uint8Array(words.buffer);
    bytes.set(header);
    bytes.set(end, at);
    for (const [, record, page] of known) words[record! / 4 + RecordStart.PAGE] = page!;
    const one = new KeptFile(words, 0, BOOT);
    const all = (look: (found: (record: number) => boolean) => void): number[] => {
      const found: number[] = [];
      look((record) => found.push(record) < 0);
      return found;
    };
    const isSure = ([first, second]: HostBoot): boolean => new KeptFile(words, 0, [first, second]).isSure;
    assert.deepEqual([BOOT, LATER, [0, 0] as const].map(isSure), [true, false, false]);
    assert.equal(known[0]!.length, Place.WORDS);
    assert.deepEqual(
      all((found) => one.byHash(5, found)),
      [32, 64],
    );
    assert.deepEqual(
      all((found) => one.byHash(-1, found)),
      [96],
    );
    assert.deepEqual(
      all((found) => one.byHash(6, found)),
      [],
    );
    assert.deepEqual(new Set(all((found) => one.byPlace(one.tableOf(32), 4, found))), new Set([128, 96]));
    assert.deepEqual(
      all((found) => one.byPlace(one.tableOf(96), 8, found)),
      [32],
    );
    assert.deepEqual(
      all((found) => one.byPlace(one.tableOf(64), 4, found)),
      [64],
    );
    assert.deepEqual(
      all((found) => one.byPlace(one.tableOf(64), 8, found)),
      [],
    );
  });
});
