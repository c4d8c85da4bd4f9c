/* PhysicalMemory: a VM's guest-physical addresses as the processor accesses them: frames, device windows, and page-table entries. Reads of nothing give all ones, writes to
 * nothing vanish. Runs on the executor's thread. */
import type { PhysicalReader } from "../../isa/system/paging.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import type { VcpuPorts } from "../engine.ts";
import type { BlockCache } from "./blocks.ts";

const PAGE = 4096;
const TWO_32 = 0x1_0000_0000;

/** Where accesses go that hit no RAM. */
export type DevicePorts = Pick<VcpuPorts, "mmioRead" | "mmioWrite">;

export class PhysicalMemory implements PhysicalReader {
  readonly #ram: GuestRam;
  readonly #words: Int32Array;
  readonly #ports: DevicePorts;
  readonly #blocks: BlockCache;

  constructor(ram: GuestRam, ports: DevicePorts, blocks: BlockCache) {
    this.#ram = ram;
    this.#words = new Int32Array(ram.pool.shared.memory.buffer);
    this.#ports = ports;
    this.#blocks = blocks;
  }

  // ——— page tables ———
  readLow(gpa: number): number {
    const page = gpa < TWO_32 ? gpa >>> 12 : Math.floor(gpa / PAGE);
    const frame = this.#ram.map[page];
    if (frame > 0) return this.#words[frame * (PAGE / 4) + ((gpa & (PAGE - 1)) >>> 2)];
    return frame === 0 ? 0 : -1; // nothing yet reads as zero; undefined: beyond RAM
  }
  readHigh(gpa: number): number {
    return this.readLow(gpa + 4);
  }
  compareExchangeLow(gpa: number, expected: number, replacement: number): boolean {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    return (
      frame >= 0 && Atomics.compareExchange(this.#words, (frame + (gpa % PAGE)) / 4, expected, replacement) === expected
    );
  }

  // ——— data: up to 8 bytes in one page ———
  read(gpa: number, size: number): bigint {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    return frame < 0 ? this.#readDevice(gpa, size) : this.readFrame(frame + (gpa % PAGE), size);
  }
  /** @param at byte offset in the frames memory */
  readFrame(at: number, size: number): bigint {
    if (size === 8) return this.#ram.pool.view.getBigUint64(at, true);
    if (size === 4) return BigInt(this.#ram.pool.view.getUint32(at, true));
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#ram.pool.bytes[at + i]);
    return value;
  }
  #readDevice(gpa: number, size: number): bigint {
    if (size === 1 || size === 2 || size === 4 || size === 8) return this.#ports.mmioRead(gpa, size);
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | this.#ports.mmioRead(gpa + i, 1);
    return value;
  }
  write(gpa: number, size: number, value: bigint): void {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    if (frame < 0) return this.#writeDevice(gpa, size, value);
    this.writeFrame(frame + (gpa % PAGE), size, value);
    if (this.#ram.codeHoldersAfterWrite(frame / PAGE) !== 0) this.#blocks.codeWritten(frame, gpa % PAGE, size);
  }
  /** @param at byte offset in the frames memory; no code is there */
  writeFrame(at: number, size: number, value: bigint): void {
    if (size === 8) this.#ram.pool.view.setBigUint64(at, value, true);
    else for (let i = 0; i < size; i++) this.#ram.pool.bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
  #writeDevice(gpa: number, size: number, value: bigint): void {
    if (size === 1 || size === 2 || size === 4 || size === 8)
      return this.#ports.mmioWrite(gpa, size, BigInt.asUintN(8 * size, value));
    for (let i = 0; i < size; i++) this.#ports.mmioWrite(gpa + i, 1, (value >> BigInt(8 * i)) & 0xffn);
  }
}
