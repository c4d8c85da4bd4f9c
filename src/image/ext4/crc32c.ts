/* CRC-32C as ext4 and jbd2 use it: reflected, polynomial 0x1EDC6F41, no inversion at the end. @source Linux lib/crc32.c (crc32c_le), fs/ext4/ext4.h
 * (ext4_chksum). Node has CRC-32 of zlib only, which is another polynomial. */

const POLYNOMIAL = 0x82f63b78;
/** Eight bytes a step. */
const TABLES = makeTables();

function makeTables(): readonly Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[0]![byte] = crc;
  }
  for (let table = 1; table < 8; table++)
    for (let byte = 0; byte < 256; byte++) {
      const before = tables[table - 1]![byte]!;
      tables[table]![byte] = (before >>> 8) ^ tables[0]![before & 0xff]!;
    }
  return tables;
}

/** Goes on with a checksum over some bytes. @param crc what came before, 0xffffffff at the start @returns an unsigned 32-bit number */
export function crc32c(crc: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  let at = start;
  let value = crc;
  for (const last = end - 7; at < last; at += 8) {
    value =
      t7[(value ^ bytes[at]!) & 0xff]! ^
      t6[((value >>> 8) ^ bytes[at + 1]!) & 0xff]! ^
      t5[((value >>> 16) ^ bytes[at + 2]!) & 0xff]! ^
      t4[(value >>> 24) ^ bytes[at + 3]!]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < end; at++) value = (value >>> 8) ^ t0[(value ^ bytes[at]!) & 0xff]!;
  return value >>> 0;
}

const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

/** The same over a little-endian 32-bit number. */
export function crc32cOfU32(crc: number, value: number): number {
  wordView.setUint32(0, value, true);
  return crc32c(crc, word, 0, 4);
}

/** The same over a little-endian 64-bit number below 2^53. */
export function crc32cOfU64(crc: number, value: number): number {
  wordView.setBigUint64(0, BigInt(value), true);
  return crc32c(crc, word, 0, 8);
}
