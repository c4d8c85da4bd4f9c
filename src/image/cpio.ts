/* Writes cpio archives in the "newc" form, which the kernel unpacks as its initramfs.
 * @source Linux Documentation/driver-api/early-userspace/buffer-format.rst. Leaves out hard links and checksums; all files are root's, of time 0,
 * so that the same input gives the same bytes.
 *
 *   "070701", then 13 fields of 8 hex digits: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check;
 *   name with NUL, padded to 4; data, padded to 4. The last entry is called TRAILER!!! */

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/** Collects entries, then gives the archive in one piece. Parents must be added before what is in them. */
export class CpioWriter {
  readonly #chunks: Uint8Array[] = [];
  #inode = 0;

  directory(path: string, mode = 0o755): void {
    this.#entry(path, S_IFDIR | mode, new Uint8Array(0));
  }

  /** The data is kept by reference until finish(). */
  file(path: string, data: Uint8Array | string, mode = 0o644): void {
    this.#entry(path, S_IFREG | mode, typeof data === "string" ? Buffer.from(data) : data);
  }

  symlink(path: string, target: string): void {
    this.#entry(path, S_IFLNK | 0o777, Buffer.from(target));
  }

  characterDevice(path: string, major: number, minor: number, mode = 0o600): void {
    this.#entry(path, S_IFCHR | mode, new Uint8Array(0), major, minor);
  }

  finish(): Uint8Array {
    this.#entry("TRAILER!!!", 0, new Uint8Array(0));
    return Buffer.concat(this.#chunks);
  }

  #entry(path: string, mode: number, data: Uint8Array, major = 0, minor = 0): void {
    const name = Buffer.from(`${path.replace(/^\/+/, "")}\0`);
    const fields = [++this.#inode, mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
    const header = Buffer.from(
      `070701${fields.map((value) => value.toString(16).toUpperCase().padStart(8, "0")).join("")}`,
    );
    this.#chunks.push(header, name, padding(header.length + name.length), data, padding(data.length));
  }
}

const padding = (length: number): Uint8Array => new Uint8Array(-length & 3);
