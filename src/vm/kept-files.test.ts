/* Files of kept code: they appear whole, become few, and nothing is lost when something is wrong with them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Header, isWholeFile, KeptFile, Place, RecordStart } from "../engine/native/kept-file.ts";
import { ExecutorFiles, keptDirectory, keptFiles, openKeptFiles } from "./kept-files.ts";

const KIB = 1024;
const RECORD_WORDS = 256;

/** So many numbers are of one page. */
const OF_PAGE = 10;
/** Records that differ by their numbers. @returns them and their places */
function records(numbers: readonly number[]): { readonly bytes: Uint8Array; readonly places: Int32Array } {
  const words = new Int32Array(numbers.length * RECORD_WORDS);
  const places: number[] = [];
  const pages: number[] = [];
  numbers.forEach((number, i) => {
    const at = i * RECORD_WORDS;
    const of = Math.floor(number / OF_PAGE);
    if (!pages.includes(of)) pages.push(of);
    const [page, from] = [pages.indexOf(of), number % OF_PAGE];
    words[at + RecordStart.HASH] = words[at + RecordStart.SUM] = number;
    words[at + RecordStart.PAGE] = page;
    words[at + RecordStart.WORDS] = RECORD_WORDS | (from << 16);
    places.push(number, Header.BYTES + 4 * at, page, from);
  });
  assert.equal(places.length, numbers.length * Place.WORDS);
  return { bytes: new Uint8Array(words.buffer), places: Int32Array.from(places) };
}
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe("files of kept code", () => {
  let directory = "";
  beforeEach(() => (directory = join(mkdtempSync(join(tmpdir(), "mere-kept-")), "code")));
  afterEach(() => rmSync(join(directory, ".."), { recursive: true }));

  function write(numbers: readonly number[], last = true): void {
    const { bytes, places } = records(numbers);
    const made = new ExecutorFiles(directory);
    made.append(bytes);
    made.finish(places, numbers.length, last);
  }
  const names = (): string[] => readdirSync(directory);
  /** Numbers of the records that the index of the only file leads to. */
  function found(): number[] {
    const { path } = keptFiles(directory)[0]!;
    const bytes = new Uint8Array(readFileSync(path));
    assert.ok(isWholeFile(bytes, bytes.length));
    const words = new Int32Array(bytes.buffer);
    const all: number[] = [];
    for (let at = words[Header.INDEX]! / 4; at < words.length; at += 2)
      if (words[at + 1] !== 0) {
        assert.equal(words[words[at + 1]! / 4], words[at]);
        all.push(words[at]!);
      }
    return all.toSorted((a, b) => a - b);
  }

  /** Numbers of each page of the only file, in the order of its tables. */
  function pages(): number[][] {
    const words = new Int32Array(new Uint8Array(readFileSync(keptFiles(directory)[0]!.path)).buffer);
    const list = words[Header.PAGES]! / 4;
    const first = words[list]! / 4;
    return Array.from(words.subarray(list, first), (table) => {
      const at = table / 4;
      return Array.from({ length: words[at]! }, (_, i) => words[words[at + 2 + 2 * i]! / 4 + RecordStart.HASH]!);
    });
  }

  test("become one, with each record once", () => {
    write(range(1, 100));
    write(range(50, 200));
    assert.equal(names().length, 1);
    assert.deepEqual(found(), range(1, 200));
  });
  test("… and pages that have something in common are one", () => {
    write(range(1, 55));
    write(range(52, 200));
    const all = pages().toSorted((a, b) => a[0]! - b[0]!);
    assert.deepEqual(all, [range(1, 10), ...range(1, 20).map((page) => range(10 * page, 10 * page + 10))]);
  });
  test("… and what was written before the host's start is not taken for what was written since", () => {
    const isSure = (): boolean => {
      const words = new Int32Array(new Uint8Array(readFileSync(keptFiles(directory)[0]!.path)).buffer);
      return new KeptFile(words, 0, new ExecutorFiles(directory).boot).isSure;
    };
    write(range(1, 100));
    write(range(50, 200));
    assert.ok(isSure());
    const { path } = keptFiles(directory)[0]!;
    const words = new Int32Array(new Uint8Array(readFileSync(path)).buffer);
    words[Header.BOOT]! ^= 1;
    writeFileSync(path, new Uint8Array(words.buffer));
    assert.ok(!isSure());
    write(range(150, 300));
    assert.deepEqual(found(), range(1, 300));
    assert.ok(!isSure());
  });
  test("stay apart while the machine runs on", () => {
    write(range(1, 100));
    write(range(50, 200), false);
    assert.equal(names().length, 2);
  });
  test("are not made for a few records beside others", () => {
    write(range(1, 100));
    write(range(100, 110));
    assert.equal(names().length, 1);
    assert.deepEqual(found(), range(1, 100));
  });
  test("that others have left half-written, or are none, are neither used nor in the way", () => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "1.code"), new Uint8Array(100 * KIB));
    writeFileSync(join(directory, "2.part"), "");
    writeFileSync(join(directory, "3.part"), "");
    utimesSync(join(directory, "3.part"), 0, 0);
    rmSync(join(directory, "1.code"));
    write(range(1, 100));
    assert.deepEqual(
      names().filter((name) => name.endsWith(".part")),
      ["2.part"],
    );
    writeFileSync(join(directory, "4.code"), new Uint8Array(100 * KIB));
    assert.equal(isWholeFile(new Uint8Array(Header.BYTES), 100 * KIB), false);
    write(range(50, 200));
    assert.equal(keptFiles(directory).length, 1);
    assert.deepEqual(found(), range(1, 200));
  });
  const version = (n: number): string => `${n}`.padStart(16, "0");
  test("of other versions go, but for those that were used last", () => {
    for (const n of [1, 2, 3, 4]) {
      const other = join(directory, "..", version(n));
      mkdirSync(other);
      utimesSync(other, n * 1000 + Date.now() / 1000 - 9000, n * 1000 + Date.now() / 1000 - 9000);
    }
    mkdirSync(join(directory, "..", "something else"));
    write(range(1, 100));
    const left = readdirSync(join(directory, "..")).toSorted();
    assert.deepEqual(left, [version(3), version(4), "code", "something else"]);
  });
  test("are not made where none can be written", () => {
    mkdirSync(join(directory, ".."), { recursive: true });
    writeFileSync(directory, "");
    write(range(1, 100));
    assert.deepEqual(openKeptFiles(directory), []);
    rmSync(directory);
  });
  test("are another version's where the host's processor is another", () => {
    assert.notEqual(keptDirectory(directory, ["aes"]), keptDirectory(directory, []));
    assert.equal(keptDirectory(directory, ["aes"]), keptDirectory(directory, ["aes"]));
  });
});
