/* For tests: a FUSE client, which makes requests as Linux's kernel does, and any others. Replies are read as they come. */
import assert from "node:assert/strict";
import type { FuseServer } from "../device/virtio/fuse-server.ts";
import { FUSE_MINOR, FUSE_ROOT_ID, FUSE_VERSION, InitFlag, OUT_HEADER_BYTES, Opcode } from "./fuse-protocol.ts";

/** A field of a request's arguments: [value, bytes], or bytes as they are. */
type Field = readonly [number | bigint, 2 | 4 | 8] | Uint8Array;
const ROOM = 256 << 10;

export interface Reply {
  /** 0, or the errno that came. */
  readonly errno: number;
  readonly body: Buffer;
}
export interface Attributes {
  readonly ino: bigint;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
}
export interface Entry extends Attributes {
  readonly node: number;
}
export interface ListedName {
  readonly name: string;
  readonly node: number;
  readonly type: number;
  readonly next: number;
}

export const u32 = (value: number): Field => [value, 4];
export const u64 = (value: number | bigint): Field => [value, 8];
/** A name with its NUL; each character a byte. */
export const text = (name: string): Uint8Array => Buffer.from(`${name}\0`, "latin1");
const bytesOf = (field: Field): Uint8Array => {
  if (field instanceof Uint8Array) return field;
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(field[0])));
  return bytes.subarray(0, field[1]);
};

export class TestClient {
  readonly server: FuseServer;
  #unique = 1n;

  constructor(server: FuseServer) {
    this.server = server;
  }

  /** A whole request with its header. @param length what the header says instead of the truth */
  static message(
    opcode: number,
    node: number | bigint,
    fields: readonly Field[],
    unique = 1n,
    length?: number,
  ): Buffer {
    const body = Buffer.concat(fields.map(bytesOf));
    const header = Buffer.alloc(40);
    header.writeUInt32LE(length ?? 40 + body.length, 0);
    header.writeUInt32LE(opcode, 4);
    header.writeBigUInt64LE(unique, 8);
    header.writeBigUInt64LE(BigInt(node), 16);
    return Buffer.concat([header, body]);
  }
  /** Sends it in odd pieces, into a reply in odd pieces. */
  async call(opcode: number, node: number | bigint, fields: readonly Field[] = [], room = ROOM): Promise<Reply> {
    const unique = this.#unique++;
    const message = TestClient.message(opcode, node, fields, unique);
    const reply = Buffer.alloc(room);
    const pieces = [reply.subarray(0, 7), reply.subarray(7, 21), reply.subarray(21)];
    const written = await this.server.handle([message.subarray(0, 13), message.subarray(13)], pieces);
    assert.ok(written >= OUT_HEADER_BYTES, `opcode ${opcode} was not answered`);
    assert.equal(reply.readUInt32LE(0), written);
    assert.equal(reply.readBigUInt64LE(8), unique);
    return { errno: Math.abs(reply.readInt32LE(4)), body: reply.subarray(OUT_HEADER_BYTES, written) };
  }
  /** The same, which must succeed. */
  async ok(opcode: number, node: number | bigint, fields: readonly Field[] = [], room = ROOM): Promise<Buffer> {
    const { errno, body } = await this.call(opcode, node, fields, room);
    assert.equal(errno, 0, `opcode ${opcode}: errno ${errno}`);
    return body;
  }

  async init(): Promise<Buffer> {
    const flags = Object.values(InitFlag).reduce((all, flag) => all | flag, 0);
    return this.ok(Opcode.INIT, 0, [u32(FUSE_VERSION), u32(FUSE_MINOR), u32(1 << 17), u32(flags)]);
  }
  /** @returns node 0 if there is no such name */
  async lookup(parent: number, name: string): Promise<Entry> {
    return entryOf(await this.ok(Opcode.LOOKUP, parent, [text(name)]));
  }
  /** Looks up each component from the root on. */
  async walk(path: string): Promise<Entry> {
    let entry: Entry | undefined;
    for (const name of path.split("/")) entry = await this.lookup(entry?.node ?? FUSE_ROOT_ID, name);
    return entry!;
  }
  async forget(node: number, count = 1): Promise<void> {
    const message = TestClient.message(Opcode.FORGET, node, [u64(count)]);
    assert.equal(await this.server.handle([message], []), 0);
  }
  async getattr(node: number): Promise<Attributes> {
    return attributesOf(await this.ok(Opcode.GETATTR, node, [u32(0), u32(0), u64(0)]), 16);
  }
  setattr(
    node: number,
    valid: number,
    { size = 0, mode = 0, uid = 0, gid = 0, atime = [0, 0], mtime = [0, 0], fh = 0 } = {},
  ): Promise<Reply> {
    const [a, m] = [atime, mtime] as [[number, number], [number, number]];
    const head = [u32(valid), u32(0), u64(fh), u64(size), u64(0), u64(a[0]), u64(m[0]), u64(0)];
    const rest = [u32(a[1]), u32(m[1]), u32(0), u32(mode), u32(0), u32(uid), u32(gid), u32(0)];
    return this.call(Opcode.SETATTR, node, [...head, ...rest]);
  }
  create(parent: number, name: string, flags = 2, mode = 0o644): Promise<Reply> {
    return this.call(Opcode.CREATE, parent, [u32(flags), u32(mode), u32(0), u32(0), text(name)]);
  }
  /** Makes a file with content. @returns its node; it is closed */
  async put(parent: number, name: string, content: string | Uint8Array): Promise<number> {
    const { errno, body } = await this.create(parent, name, 0o1002);
    assert.equal(errno, 0);
    const handle = handleOf(body, 128);
    await this.write(handle, 0, Buffer.from(content));
    await this.release(handle);
    return entryOf(body).node;
  }
  async open(node: number, flags = 0): Promise<number> {
    return handleOf(await this.ok(Opcode.OPEN, node, [u32(flags), u32(0)]));
  }
  read(handle: number, offset: number, size: number, room = ROOM): Promise<Buffer> {
    return this.ok(Opcode.READ, 1, [u64(handle), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)], room);
  }
  async write(handle: number, offset: number, data: Uint8Array): Promise<number> {
    const head = [u64(handle), u64(offset), u32(data.length), u32(0), u64(0), u32(0), u32(0)];
    return (await this.ok(Opcode.WRITE, 1, [...head, data])).readUInt32LE(0);
  }
  async release(handle: number, opcode: number = Opcode.RELEASE): Promise<void> {
    await this.ok(opcode, 1, [u64(handle), u32(0), u32(0), u64(0)]);
  }
  async content(node: number): Promise<string> {
    const handle = await this.open(node);
    const data = (await this.read(handle, 0, ROOM - 16)).toString("latin1");
    await this.release(handle);
    return data;
  }
  mkdir(parent: number, name: string, mode = 0o755): Promise<Reply> {
    return this.call(Opcode.MKDIR, parent, [u32(mode), u32(0), text(name)]);
  }
  rename(from: number, name: string, to: number, newName: string, flags = 0): Promise<Reply> {
    return this.call(Opcode.RENAME2, from, [u64(to), u32(flags), u32(0), text(name), text(newName)]);
  }
  /** All names of a directory, in listings of `size` bytes. */
  async list(node: number, { plus = false, size = 4096 } = {}): Promise<ListedName[]> {
    const handle = handleOf(await this.ok(Opcode.OPENDIR, node, [u32(0), u32(0)]));
    const names: ListedName[] = [];
    for (let offset = 0; ;) {
      const opcode = plus ? Opcode.READDIRPLUS : Opcode.READDIR;
      const fields = [u64(handle), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)];
      const some = namesOf(await this.ok(opcode, node, fields), plus);
      if (some.length === 0) break;
      names.push(...some);
      offset = some.at(-1)!.next;
    }
    await this.release(handle, Opcode.RELEASEDIR);
    return names;
  }
}

export function attributesOf(body: Buffer, at: number): Attributes {
  return {
    ino: body.readBigUInt64LE(at),
    size: Number(body.readBigUInt64LE(at + 8)),
    mtimeNs: body.readBigInt64LE(at + 32) * 1_000_000_000n + BigInt(body.readUInt32LE(at + 52)),
    mode: body.readUInt32LE(at + 60),
    nlink: body.readUInt32LE(at + 64),
    uid: body.readUInt32LE(at + 68),
    gid: body.readUInt32LE(at + 72),
    rdev: body.readUInt32LE(at + 76),
  };
}
export function entryOf(body: Buffer): Entry {
  return { node: Number(body.readBigUInt64LE(0)), ...attributesOf(body, 40) };
}
export const handleOf = (body: Buffer, at = 0): number => Number(body.readBigUInt64LE(at));
export function namesOf(body: Buffer, plus: boolean): ListedName[] {
  const names: ListedName[] = [];
  for (let at = 0; at < body.length;) {
    const node = plus ? Number(body.readBigUInt64LE(at)) : 0;
    const dirent = at + (plus ? 128 : 0);
    const length = body.readUInt32LE(dirent + 16);
    const name = body.toString("latin1", dirent + 24, dirent + 24 + length);
    names.push({
      name,
      node,
      type: body.readUInt32LE(dirent + 20),
      next: Number(body.readBigUInt64LE(dirent + 8)),
    });
    at = dirent + ((24 + length + 7) & ~7);
  }
  return names;
}
