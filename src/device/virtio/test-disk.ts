/* For tests: a disk in memory. */
import type { Disk } from "./disk.ts";

export class MemoryDisk implements Disk {
  readonly bytes: Uint8Array;
  readonly canDiscard = true;
  readOnly = false;
  flushes = 0;
  reads = 0;
  discarded: [number, number][] = [];
  /** Ranges that were zeroed: offset, length, unmap. */
  zeroed: [number, number, boolean][] = [];
  fails = false;
  /** Reads wait here until tests let them go. */
  gate: Promise<void> = Promise.resolve();

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
  }
  get sizeBytes(): number {
    return this.bytes.length;
  }
  readNow(offset: number, into: readonly Uint8Array[]): void {
    let at = offset;
    for (const part of into) {
      part.set(this.bytes.subarray(at, at + part.length));
      at += part.length;
    }
  }
  writeNow(offset: number, from: readonly Uint8Array[]): void {
    let at = offset;
    for (const part of from) {
      this.bytes.set(part, at);
      at += part.length;
    }
  }
  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    this.reads++;
    await this.gate;
    if (this.fails) throw new Error("broken");
    this.readNow(offset, into);
  }
  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    this.writeNow(offset, from);
  }
  async flush(): Promise<void> {
    this.flushes++;
  }
  async discard(offset: number, length: number): Promise<boolean> {
    this.discarded.push([offset, length]);
    return true;
  }
  async zero(offset: number, length: number, unmap: boolean): Promise<void> {
    this.zeroed.push([offset, length, unmap]);
    this.bytes.fill(0, offset, offset + length);
  }
  async close(): Promise<void> {}
}
