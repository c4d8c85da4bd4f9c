/* For tests: a file that can lose its power. It remembers which sectors were written since the last sync, and stops at a system call that the test chose; what is found
 * afterwards is any mixture that a disk could have made of them. */
import { setImmediate } from "node:timers/promises";
import type { BlockFile } from "./block-file.ts";

const SECTOR = 512;
/** Turns of the event loop that calls take, one after another. */
const LENGTHS = [1, 2, 1, 12, 1, 3, 1, 1, 7, 1, 30];

export class Crashed extends Error {}

/** Counts the system calls of all files that share it, and ends all of them at once. */
export class Power {
  calls = 0;
  #started = 0;
  /** The call in which it goes out. */
  last = Infinity;
  get off(): boolean {
    return this.calls >= this.last;
  }
  /** @returns true if this call is the one that is cut short */
  async call(): Promise<boolean> {
    // Others come between, as between system calls: some take longer, and are overtaken.
    for (let turns = LENGTHS[this.#started++ % LENGTHS.length]!; turns > 0; turns--) await setImmediate();
    if (this.off) throw new Crashed();
    return ++this.calls >= this.last;
  }
}

export class TestFile implements BlockFile {
  readonly fd = -1;
  readonly #power: Power;
  /** A sector that is not there is zeroes. */
  #now = new Map<number, Uint8Array>();
  /** What is on the medium, and what might be: versions since the last sync, the oldest first. */
  #versions = new Map<number, (Uint8Array | undefined)[]>();
  #durable = new Map<number, Uint8Array>();

  constructor(power: Power) {
    this.#power = power;
  }
  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    if (await this.#power.call()) throw new Crashed();
    let sector = offset / SECTOR;
    for (const piece of into)
      for (let at = 0; at < piece.length; at += SECTOR) {
        const found = this.#now.get(sector++);
        if (found) piece.set(found, at);
        else piece.fill(0, at, at + SECTOR);
      }
  }
  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    const cut = await this.#power.call();
    let sector = offset / SECTOR;
    for (const piece of from)
      for (let at = 0; at < piece.length; at += SECTOR) {
        if (cut && sector % 3 === 0) throw new Crashed();
        this.#put(sector++, piece.slice(at, at + SECTOR));
      }
    if (cut) throw new Crashed();
  }
  async zero(offset: number, length: number): Promise<void> {
    const cut = await this.#power.call();
    for (let sector = offset / SECTOR; sector < (offset + length) / SECTOR; sector++) this.#put(sector, undefined);
    if (cut) throw new Crashed();
  }
  async punch(offset: number, length: number): Promise<boolean> {
    await this.zero(offset, length);
    return true;
  }
  async sync(): Promise<void> {
    const covered = this.#versions;
    this.#versions = new Map();
    const before = new Map(this.#now);
    const cut = await this.#power.call();
    if (cut) {
      // Nothing is promised: all of it may still be lost.
      for (const [sector, list] of this.#versions) covered.set(sector, [...(covered.get(sector) ?? []), ...list]);
      this.#versions = covered;
      throw new Crashed();
    }
    for (const sector of covered.keys()) {
      const bytes = before.get(sector);
      if (bytes) this.#durable.set(sector, bytes);
      else this.#durable.delete(sector);
    }
  }
  async close(): Promise<void> {}

  /** The file as it is found after a loss of power. @param choose an index below the count, for each sector in doubt */
  afterPowerLoss(choose: (count: number) => number, power: Power): TestFile {
    const file = new TestFile(power);
    file.#durable = new Map(this.#durable);
    for (const [sector, versions] of this.#versions) {
      const bytes = [this.#durable.get(sector), ...versions][choose(versions.length + 1)];
      if (bytes) file.#durable.set(sector, bytes);
      else file.#durable.delete(sector);
    }
    file.#now = new Map(file.#durable);
    return file;
  }
  /** The file as it is found when only its process has died. */
  afterKill(power: Power): TestFile {
    const file = new TestFile(power);
    file.#now = new Map(this.#now);
    file.#durable = new Map(this.#durable);
    file.#versions = new Map([...this.#versions].map(([sector, list]) => [sector, [...list]]));
    return file;
  }
  #put(sector: number, bytes: Uint8Array | undefined): void {
    if (bytes) this.#now.set(sector, bytes);
    else this.#now.delete(sector);
    const list = this.#versions.get(sector);
    if (list) list.push(bytes);
    else this.#versions.set(sector, [bytes]);
  }
}
