/* Programs for small guests, as assembler listings: each line is the bytes of one instruction and then its text, which is a comment. A line "name:" is a
 * label, lines that begin with ";" are remarks. */

export interface Listing {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Offsets of the instructions. */
  readonly starts: readonly number[];
  /** Offset of a label; throws if there is none. */
  at(label: string): number;
  /** Each instruction's bytes. */
  pieces(): Uint8Array[];
}

export function code(text: string): Listing {
  const bytes: number[] = [];
  const starts: number[] = [];
  const labels = new Map<string, number>();
  for (const line of text.split("\n").map((l) => l.trim())) {
    if (line === "" || line.startsWith(";")) continue;
    const label = /^(\w+):$/.exec(line)?.[1];
    if (label !== undefined) {
      labels.set(label, bytes.length);
      continue;
    }
    const hex = /^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2}.*)?$/.exec(line)?.[1];
    if (hex === undefined) throw new Error(`no listing line: ${line}`);
    starts.push(bytes.length);
    for (const byte of hex.split(" ")) bytes.push(parseInt(byte, 16));
  }
  return {
    bytes: Uint8Array.from(bytes),
    starts,
    at(label) {
      const offset = labels.get(label);
      if (offset === undefined) throw new Error(`no label ${label}`);
      return offset;
    },
    pieces: () => starts.map((start, i) => Uint8Array.from(bytes.slice(start, starts[i + 1]))),
  };
}
