/* Random bytes of the host. node:crypto takes each start of a VM 20 ms to load, for what is a file on most hosts. */
import { closeSync, openSync, readSync } from "node:fs";

const SOURCE = "/dev/urandom";

/** Fills `bytes`, which must not be shared memory. @source random(4) */
export function fillRandom(bytes: Uint8Array): void {
  let fd: number;
  try {
    fd = openSync(SOURCE, "r");
  } catch {
    process.getBuiltinModule("node:crypto").randomFillSync(bytes);
    return;
  }
  try {
    for (let at = 0; at < bytes.length;) at += readSync(fd, bytes, at, bytes.length - at, null);
  } finally {
    closeSync(fd);
  }
}
export function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  fillRandom(bytes);
  return bytes;
}
