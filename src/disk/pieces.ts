/* Scatter-gather lists: the bytes of a request as views, in order. Any thread. */
import { range } from "../device/virtio/buffers.ts";

export function byteCount(pieces: readonly Uint8Array[]): number {
  let count = 0;
  for (const piece of pieces) count += piece.length;
  return count;
}

/** Views of bytes [start, end); copies nothing. */
export function piecesOf(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  return range(pieces, start, end);
}

export function fillZeroes(pieces: readonly Uint8Array[]): void {
  for (const piece of pieces) piece.fill(0);
}
