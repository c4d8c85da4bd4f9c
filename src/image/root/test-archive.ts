/* Tar archives for tests, byte by byte, so that they can be what no tool writes. */
import type { RootImageLayer } from "./root-image.ts";

export interface TestEntry {
  readonly path: string;
  /** The type's character; "0", or "5" if the path ends with a slash. */
  readonly type?: string;
  readonly data?: string | Uint8Array;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly device?: readonly [number, number];
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
  /** Said instead of the data's length. */
  readonly size?: number;
}

const END = Buffer.alloc(1024);

/** An archive with its end mark. Names longer than the header's field go into a pax header. */
export function archive(entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.map(entryBytes), END]);
}

export function entryBytes(entry: TestEntry): Buffer {
  const path = Buffer.from(entry.path, "latin1");
  const link = Buffer.from(entry.link ?? "", "latin1");
  const pax = {
    ...(path.length > 100 && { path }),
    ...(link.length > 100 && { linkpath: link }),
    ...entry.pax,
  };
  const data = Buffer.from((entry.data ?? "") as string);
  const type = entry.type ?? (entry.path.endsWith("/") ? "5" : "0");
  const own = [
    header(
      { ...entry, path: entry.path.slice(0, 100), link: link.toString("latin1").slice(0, 100), type },
      data.length,
    ),
    padded(data),
  ];
  if (Object.keys(pax).length === 0) return Buffer.concat(own);
  const records = Buffer.concat(Object.entries(pax).map(([key, value]) => paxRecord(key, value)));
  return Buffer.concat([header({ path: "pax", type: "x" }, records.length), padded(records), ...own]);
}

export function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from("\n")]);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function header(entry: TestEntry, length: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, digits: number): void => {
    block.write(`${value.toString(8).padStart(digits - 1, "0")}\0`, at, "latin1");
  };
  block.write(entry.path, 0, 100, "latin1");
  octal(entry.mode ?? (entry.type === "5" ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(entry.size ?? length, 124, 12);
  octal(entry.mtime ?? 0, 136, 12);
  block.write(entry.type ?? "0", 156, "latin1");
  block.write(entry.link ?? "", 157, 100, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  octal(entry.device?.[0] ?? 0, 329, 8);
  octal(entry.device?.[1] ?? 0, 337, 8);
  return sealed(block);
}

/** Gives a header the checksum of what it holds. */
export function sealed(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((all, byte) => all + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc(-data.length & 511)]);

/** Bytes as a source gives them. */
export async function* pieces(bytes: Uint8Array, length = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** A layer of an archive's bytes. */
export const layer = (bytes: Uint8Array, more: Partial<RootImageLayer> = {}): RootImageLayer => ({
  name: "sha256:abc",
  open: () => pieces(bytes),
  ...more,
});
export const layerOf = (...entries: TestEntry[]): RootImageLayer => layer(archive(entries));
