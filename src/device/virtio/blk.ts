/* virtio block device over a Disk. @source virtio 1.2 §5.2. Requests run concurrently and complete in any order; FLUSH covers the writes that
 * were complete before it, as the specification asks. On the I/O thread; what can be
 * done at once executors have done before (blk-quick.ts). Leaves out: secure erase, zones, switchable write cache.
 *
 *   request  +0 u32 type   +4 u32 reserved   +8 u64 sector   data …   last writable byte: status
 *   config   +0 u64 capacity (512-byte sectors)  +8 u32 size_max  +12 u32 seg_max  +20 u32 blk_size  +24 topology
 *            +34 u16 num_queues  +36 u32 max_discard_sectors  +40 u32 max_discard_seg  +44 u32 discard_sector_alignment
 *            +48 u32 max_write_zeroes_sectors  +52 u32 max_write_zeroes_seg  +56 u8 write_zeroes_may_unmap
 */
import { BlkFeature, BlkStatus, BlkType, HEADER_BYTES, SECTOR } from "./blk-format.ts";
import { gather, range, scatter } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import type { Disk } from "./disk.ts";
import type { Chain } from "./queue.ts";

/** More than this many CPUs share their queues: each queue costs the guest memory. */
export const MOST_BLK_QUEUES = 4;
const QUEUE_SIZE = 256;
const ID_BYTES = 20;
const RANGE_BYTES = 16;
/** 126 segments leave room for header and status in a ring of 128 and make requests of up to 15.75 MiB. */
const SEG_MAX = 126;
const SIZE_MAX = 128 << 10;
const MAX_RANGE_SECTORS = 0x400000; // 2 GiB
const MAX_RANGES = 16;
/** A flag of a WRITE_ZEROES range: the space may be given back. */
const UNMAP = 1;

/** Status and how many data bytes the device wrote. */
interface Outcome {
  status: number;
  written: number;
}

export class BlkDevice implements VirtioDevice {
  readonly description: VirtioDescription;
  readonly #disk: Disk;
  readonly #id: Uint8Array;
  #port!: VirtioPort;

  /** @param id at most 20 ASCII characters; the guest shows it as the serial number  @param queues for the guest's CPUs, up to MOST_BLK_QUEUES */
  constructor(disk: Disk, id: string, queues = 1) {
    this.#disk = disk;
    this.#id = new Uint8Array(ID_BYTES);
    new TextEncoder().encodeInto(id, this.#id);
    const features: number[] = [BlkFeature.SIZE_MAX, BlkFeature.SEG_MAX, BlkFeature.BLK_SIZE, BlkFeature.FLUSH];
    if (disk.readOnly) features.push(BlkFeature.RO);
    else features.push(BlkFeature.WRITE_ZEROES);
    if (!disk.readOnly && disk.canDiscard) features.push(BlkFeature.DISCARD);
    if (queues > 1) features.push(BlkFeature.MQ);
    const queueSizes = new Array<number>(queues).fill(QUEUE_SIZE);
    this.description = { name: "blk", deviceId: 2, features, queueSizes, config: configBytes(disk, queues) };
  }

  attach(port: VirtioPort): void {
    this.#port = port;
  }
  process(queueIndex: number): void {
    const queue = this.#port.queues[queueIndex]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const request = chain;
      void this.#serve(request).then(({ status, written }) => {
        if (request.writableBytes > 0)
          scatter(range(request.writable, request.writableBytes - 1, request.writableBytes), Uint8Array.of(status));
        queue.push(request, written + (request.writableBytes > 0 ? 1 : 0));
        queue.signal();
      });
    }
  }

  async #serve(chain: Chain): Promise<Outcome> {
    // No room for a status: all that can be done is to give the chain back.
    if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < 1) return { status: BlkStatus.IOERR, written: 0 };
    const header = new DataView(gather(chain.readable, HEADER_BYTES).buffer);
    const sector = header.getUint32(8, true) + header.getUint32(12, true) * 0x1_0000_0000;
    try {
      switch (header.getUint32(0, true)) {
        case BlkType.IN:
          return await this.#read(chain, sector);
        case BlkType.OUT:
          return { status: await this.#write(chain, sector), written: 0 };
        case BlkType.FLUSH:
          await this.#disk.flush();
          return { status: BlkStatus.OK, written: 0 };
        case BlkType.GET_ID:
          return {
            status: BlkStatus.OK,
            written: scatter(range(chain.writable, 0, chain.writableBytes - 1), this.#id),
          };
        case BlkType.DISCARD:
          return {
            status: await this.#eachRange(chain, 0, (offset, length) => this.#disk.discard(offset, length)),
            written: 0,
          };
        case BlkType.WRITE_ZEROES:
          return {
            status: await this.#eachRange(chain, UNMAP, (offset, length, flags) =>
              this.#disk.zero(offset, length, (flags & UNMAP) !== 0),
            ),
            written: 0,
          };
        default:
          return { status: BlkStatus.UNSUPP, written: 0 };
      }
    } catch {
      return { status: BlkStatus.IOERR, written: 0 };
    }
  }
  async #read(chain: Chain, sector: number): Promise<Outcome> {
    const length = chain.writableBytes - 1;
    if (!this.#inside(sector, length)) return { status: BlkStatus.IOERR, written: 0 };
    await this.#disk.read(sector * SECTOR, range(chain.writable, 0, length));
    return { status: BlkStatus.OK, written: length };
  }
  async #write(chain: Chain, sector: number): Promise<number> {
    const length = chain.readableBytes - HEADER_BYTES;
    if (this.#disk.readOnly || !this.#inside(sector, length)) return BlkStatus.IOERR;
    await this.#disk.write(sector * SECTOR, range(chain.readable, HEADER_BYTES, chain.readableBytes));
    return BlkStatus.OK;
  }
  /** DISCARD and WRITE_ZEROES: the data are ranges of u64 sector, u32 sectors, u32 flags. */
  async #eachRange(
    chain: Chain,
    allowedFlags: number,
    act: (offset: number, length: number, flags: number) => Promise<unknown>,
  ): Promise<number> {
    const length = chain.readableBytes - HEADER_BYTES;
    if (this.#disk.readOnly) return BlkStatus.IOERR;
    if (length % RANGE_BYTES !== 0 || length === 0 || length > MAX_RANGES * RANGE_BYTES) return BlkStatus.IOERR;
    const ranges = new DataView(gather(range(chain.readable, HEADER_BYTES, chain.readableBytes), length).buffer);
    for (let at = 0; at < length; at += RANGE_BYTES) {
      const sector = ranges.getUint32(at, true) + ranges.getUint32(at + 4, true) * 0x1_0000_0000;
      const sectors = ranges.getUint32(at + 8, true);
      const flags = ranges.getUint32(at + 12, true);
      if ((flags & ~allowedFlags) !== 0) return BlkStatus.UNSUPP;
      if (sectors > MAX_RANGE_SECTORS || !this.#inside(sector, sectors * SECTOR)) return BlkStatus.IOERR;
      await act(sector * SECTOR, sectors * SECTOR, flags);
    }
    return BlkStatus.OK;
  }
  #inside(sector: number, length: number): boolean {
    return length % SECTOR === 0 && sector * SECTOR + length <= this.#disk.sizeBytes;
  }
}

function configBytes(disk: Disk, queues: number): Uint8Array {
  const config = new DataView(new ArrayBuffer(60));
  config.setBigUint64(0, BigInt(Math.floor(disk.sizeBytes / SECTOR)), true);
  config.setUint32(8, SIZE_MAX, true);
  config.setUint32(12, SEG_MAX, true);
  config.setUint32(20, SECTOR, true);
  config.setUint16(34, queues, true);
  config.setUint32(36, MAX_RANGE_SECTORS, true);
  config.setUint32(40, MAX_RANGES, true);
  config.setUint32(44, 8, true);
  config.setUint32(48, MAX_RANGE_SECTORS, true);
  config.setUint32(52, MAX_RANGES, true);
  config.setUint8(56, 1);
  return new Uint8Array(config.buffer);
}
