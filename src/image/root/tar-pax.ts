/* Records of pax headers: "LENGTH KEY=VALUE\n", where LENGTH counts all of it. @source POSIX.1-2017 pax "pax Extended Header"; GNU tar manual "PAX" (sparse);
 * star(5) (SCHILY.xattr.). Leaves out what does not reach a file system: comments, charsets, names of users, ACLs as text. */
import { TarError } from "./tar-error.ts";
import type { Xattr } from "../ext4/nodes.ts";

/** What pax headers say of one entry. Undefined: not said. */
export interface PaxFields {
  path?: string;
  linkPath?: string;
  sizeBytes?: number;
  uid?: number;
  gid?: number;
  mtime?: { readonly seconds: number; readonly nanos: number };
  xattrs?: readonly Xattr[];
  /** Form of a sparse file: "1.0" has its map before the data; older ones have it here. */
  sparseVersion?: string;
  sparseMap?: readonly number[];
  realSizeBytes?: number;
  /** With sparse files the plain path is a stand-in for programs that do not know them. */
  sparseName?: string;
}

const XATTR = "SCHILY.xattr.";

/** Reads records: later ones win, an empty value takes a field back. @throws TarError "damaged" */
export function parsePax(records: Buffer): PaxFields {
  const fields: PaxFields = {};
  const xattrs = new Map<string, Xattr>();
  const sparse: number[] = [];
  for (let at = 0; at < records.length && records[at] !== 0;) {
    const blank = records.indexOf(0x20, at);
    const length = blank === -1 ? 0 : Number(records.toString("latin1", at, Math.min(blank, at + 20)));
    const end = at + length;
    const equals = records.indexOf(0x3d, blank);
    if (!Number.isInteger(length) || end <= blank + 1 || end > records.length || records[end - 1] !== 0x0a)
      throw new TarError("damaged", "a pax header has a record of a wrong length");
    if (equals === -1 || equals >= end) throw new TarError("damaged", "a pax header has a record without a value");
    const key = records.toString("latin1", blank + 1, equals);
    const value = records.subarray(equals + 1, end - 1);
    if (key.startsWith(XATTR))
      xattrs.set(key.slice(XATTR.length), { name: key.slice(XATTR.length), value: Buffer.from(value) });
    else if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes")
      sparse.push(toNumber(value.toString("latin1")));
    else setField(fields, key, value.toString("latin1"));
    at = end;
  }
  if (xattrs.size > 0) fields.xattrs = [...xattrs.values()];
  if (sparse.length > 0) fields.sparseMap = sparse;
  return fields;
}

type Setter = (fields: PaxFields, value: string) => void;

const SETTERS: Readonly<Record<string, Setter>> = {
  path: (fields, value) => (fields.path = value),
  linkpath: (fields, value) => (fields.linkPath = value),
  size: (fields, value) => (fields.sizeBytes = toNumber(value)),
  uid: (fields, value) => (fields.uid = toNumber(value)),
  gid: (fields, value) => (fields.gid = toNumber(value)),
  mtime: (fields, value) => (fields.mtime = toTime(value)),
  "GNU.sparse.major": (fields, value) =>
    (fields.sparseVersion = `${value}.${fields.sparseVersion?.split(".")[1] ?? "0"}`),
  "GNU.sparse.minor": (fields, value) =>
    (fields.sparseVersion = `${fields.sparseVersion?.split(".")[0] ?? "0"}.${value}`),
  "GNU.sparse.map": (fields, value) => (fields.sparseMap = value.split(",").map(toNumber)),
  "GNU.sparse.size": (fields, value) => (fields.realSizeBytes = toNumber(value)),
  "GNU.sparse.realsize": (fields, value) => (fields.realSizeBytes = toNumber(value)),
  "GNU.sparse.name": (fields, value) => (fields.sparseName = value),
};
/** The fields that each key sets, for values that are empty. */
const FIELDS: Readonly<Record<string, keyof PaxFields>> = {
  path: "path",
  linkpath: "linkPath",
  size: "sizeBytes",
  uid: "uid",
  gid: "gid",
  mtime: "mtime",
};

function setField(fields: PaxFields, key: string, value: string): void {
  if (value === "" && Object.hasOwn(FIELDS, key)) delete fields[FIELDS[key]!];
  else if (Object.hasOwn(SETTERS, key)) SETTERS[key]!(fields, value);
}

/** @throws TarError "damaged" */
export function toNumber(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new TarError("damaged", "a pax header has a value that is no number");
  return value;
}

/** Decimal seconds with a fraction; what is finer than a nanosecond is cut off towards the past. */
function toTime(text: string): { seconds: number; nanos: number } {
  const parts = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (parts === null) throw new TarError("damaged", "a pax header has a time that is no number");
  const [, sign, whole, fraction = ""] = parts;
  const seconds = Number(whole);
  const nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "") return { seconds, nanos };
  return nanos === 0 ? { seconds: -seconds, nanos: 0 } : { seconds: -seconds - 1, nanos: 1e9 - nanos };
}
