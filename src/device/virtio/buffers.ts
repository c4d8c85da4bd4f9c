/* Scatter-gather lists: a chain's bytes as one sequence over many views of guest memory. */

/** Copies the first `length` bytes out of `list`. @returns shorter if the list is */
export function gather(list: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of list) {
    if (at >= length) break;
    const take = Math.min(part.length, length - at);
    bytes.set(part.subarray(0, take), at);
    at += take;
  }
  return at === length ? bytes : bytes.subarray(0, at);
}

/** Copies `bytes` into `list`. @returns how many found room */
export function scatter(list: readonly Uint8Array[], bytes: Uint8Array): number {
  let at = 0;
  for (const part of list) {
    if (at >= bytes.length) break;
    const take = Math.min(part.length, bytes.length - at);
    part.set(bytes.subarray(at, at + take));
    at += take;
  }
  return at;
}

/** Views of bytes [start, end) of the sequence; copies nothing. */
export function range(list: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const part of list) {
    const from = Math.max(0, start - at);
    const to = Math.min(part.length, end - at);
    if (from < to) parts.push(part.subarray(from, to));
    at += part.length;
  }
  return parts;
}
