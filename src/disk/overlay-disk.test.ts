import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { OverlayDisk } from "./overlay-disk.ts";
import { OverlayMap } from "./overlay-map.ts";
import { Crashed, Power, TestFile } from "./test-file.ts";

const SECTOR = 512;
const BASE_SECTORS = 16 * 8 + 3;
/** More than two pages of the map. */
const SIZE_BYTES = 130 << 20;
/** Where requests go: so that they meet. */
const PLACES = [0, BASE_SECTORS - 20, (64 << 20) / SECTOR - 12, SIZE_BYTES / SECTOR - 40];

type Kind = "write" | "discard" | "zero" | "unmap" | "read" | "flush" | "settle" | "reopen";
interface Step {
  kind: Kind;
  place: number;
  sector: number;
  count: number;
}
const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(
      "write",
      "write",
      "write",
      "discard",
      "zero",
      "unmap",
      "read",
      "flush",
      "flush",
      "settle",
      "reopen",
    ),
    place: fc.constantFrom(...PLACES),
    sector: fc.integer({ min: 0, max: 24 }),
    count: fc.integer({ min: 1, max: 16 }),
  }),
  { minLength: 1, maxLength: 40 },
);

/** What a sector may hold: the number in its bytes, of each change in order. Durable is the first. */
interface Change {
  id: number;
  done: boolean;
}

class Model {
  power = new Power();
  file = new TestFile(this.power);
  base = new TestFile(this.power);
  disk!: OverlayDisk;
  readonly #sectors = new Map<number, Change[]>();
  readonly #busy: { first: number; end: number; done: Promise<void> }[] = [];
  #ids = 1_000_000;

  async start(): Promise<void> {
    const sectors = Array.from({ length: BASE_SECTORS }, (_, i) => filled(i + 1));
    await this.base.write(0, sectors);
    await this.open();
  }
  async open(): Promise<void> {
    const map = OverlayMap.create(SIZE_BYTES);
    assert.ok(await map.load((offset, into) => this.file.read(offset, [into])));
    this.disk = new OverlayDisk({
      path: "model",
      file: this.file,
      base: this.base,
      baseBytes: BASE_SECTORS * SECTOR,
      map,
      sizeBytes: SIZE_BYTES,
      readOnly: false,
      ephemeral: false,
    });
  }
  changes(sector: number): Change[] {
    let list = this.#sectors.get(sector);
    if (!list) this.#sectors.set(sector, (list = [{ id: sector < BASE_SECTORS ? sector + 1 : 0, done: true }]));
    return list;
  }
  async step({ kind, place, sector, count }: Step): Promise<void> {
    const first = place + sector;
    const end = Math.min(first + count, SIZE_BYTES / SECTOR);
    if (kind === "flush") return this.#track(0, 0, this.#flush());
    if (kind === "settle") return this.settle();
    if (kind === "reopen") return this.#reopen();
    // Requests that overlap have no order: the model has none under way at a time.
    await Promise.all(this.#busy.filter((one) => one.first < end && one.end > first).map((one) => one.done));
    if (kind === "read") this.#track(first, end, this.check(first, end));
    else this.#track(first, end, this.#change(kind, first, end));
    await setImmediate();
  }
  #track(first: number, end: number, work: Promise<void>): void {
    const entry = { first, end, done: work };
    this.#busy.push(entry);
    void work.catch(() => undefined).then(() => this.#busy.splice(this.#busy.indexOf(entry), 1));
  }
  async settle(): Promise<void> {
    while (this.#busy.length > 0) await Promise.all(this.#busy.map((one) => one.done));
  }
  async #change(kind: Kind, first: number, end: number): Promise<void> {
    const id = kind === "write" ? this.#ids++ : 0;
    const [offset, length] = [first * SECTOR, (end - first) * SECTOR];
    // A discard is of whole blocks.
    const [from, to] = kind === "discard" ? [Math.ceil(first / 8) * 8, Math.floor(end / 8) * 8] : [first, end];
    const made: Change[] = [];
    for (let s = from; s < to; s++) {
      const change = { id, done: false };
      made.push(change);
      this.changes(s).push(change);
    }
    if (kind === "write")
      await this.disk.write(offset, [filled(id), ...new Array<Uint8Array>(end - first - 1).fill(filled(id))]);
    else if (kind === "discard") await this.disk.discard(offset, length);
    else await this.disk.zero(offset, length, kind === "unmap");
    for (const change of made) change.done = true;
  }
  async #flush(): Promise<void> {
    const covered = [...this.#sectors.values()].map((list) => ({
      list,
      last: list.findLast((change) => change.done)!,
    }));
    await this.disk.flush();
    for (const { list, last } of covered) list.splice(0, Math.max(0, list.indexOf(last)));
  }
  async #reopen(): Promise<void> {
    await this.settle();
    await this.disk.close();
    for (const list of this.#sectors.values()) list.splice(0, list.length - 1);
    await this.open();
  }
  /** What is read is the last change. */
  async check(first: number, end: number): Promise<void> {
    const bytes = new Uint8Array((end - first) * SECTOR);
    await this.disk.read(first * SECTOR, [bytes.subarray(0, SECTOR), bytes.subarray(SECTOR)]);
    for (let s = first; s < end; s++) assert.equal(idOf(bytes, s - first), this.changes(s).at(-1)!.id, `sector ${s}`);
  }
  /** After a crash each sector is as it was at the last flush that was answered, or one of the changes since. */
  async checkAfterCrash(): Promise<void> {
    for (const [sector, list] of this.#sectors) {
      const bytes = new Uint8Array(SECTOR);
      await this.disk.read(sector * SECTOR, [bytes]);
      const allowed = list.map(({ id }) => id);
      assert.ok(allowed.includes(idOf(bytes, 0)), `sector ${sector}: ${idOf(bytes, 0)} is none of ${allowed.join()}`);
    }
  }
}
function filled(id: number): Uint8Array {
  return new Uint8Array(new Uint32Array(SECTOR / 4).fill(id).buffer);
}
function idOf(bytes: Uint8Array, sector: number): number {
  const words = new Uint32Array(bytes.buffer, sector * SECTOR, SECTOR / 4);
  assert.ok(
    words.every((word) => word === words[0]),
    "a sector is whole",
  );
  return words[0]!;
}

test("model: whatever is written, discarded, zeroed, flushed and reopened reads as it should", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const model = new Model();
      await model.start();
      for (const step of list) await model.step(step);
      await model.settle();
      for (const place of PLACES) await model.check(place, Math.min(place + 40, SIZE_BYTES / SECTOR));
    }),
    { numRuns: 150 },
  );
});

for (const [name, kill] of [
  ["a loss of power", false],
  ["a kill", true],
] as const)
  test(`model: after ${name} between any two system calls what was flushed is there, the rest is old or new`, async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(120), fc.infiniteStream(fc.nat()), async (list, calls, random) => {
        const model = new Model();
        await model.start();
        model.power.last = model.power.calls + calls;
        try {
          for (const step of list) await model.step(step);
          await model.settle();
        } catch (error) {
          if (!(error instanceof Crashed)) throw error;
        }
        model.power.last = 0;
        for (let i = 0; i < 40; i++) await setImmediate();
        const power = new Power();
        const choose = (count: number): number => random.next().value! % count;
        model.file = kill ? model.file.afterKill(power) : model.file.afterPowerLoss(choose, power);
        model.base = model.base.afterKill(power);
        await model.open();
        await model.checkAfterCrash();
      }),
      { numRuns: 250 },
    );
  });
