/* Overlays: disks over a base that is only read, each a sparse file of what was changed. Making, opening and growing them; docs/disks.md. I/O thread. */
import { createHash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Disk } from "../device/virtio/disk.ts";
import { HostFile, openNameless } from "./block-file.ts";
import { createError, DiskError, openError, openToWriteError } from "./disk-error.ts";
import { lock } from "./lock.ts";
import { createWhole } from "./new-file.ts";
import { OverlayDisk } from "./overlay-disk.ts";
import {
  type BaseIdentity,
  BLOCK_BYTES,
  DATA_OFFSET,
  decodeHeader,
  encodeHeader,
  FIRST_SECTOR_BYTES,
  HEADER_BYTES,
  isOverlaySize,
  type OverlayHeader,
} from "./overlay-format.ts";
import { OverlayMap } from "./overlay-map.ts";
import { openLocked } from "./raw.ts";

const HEAD_BYTES = 64 << 10;

export interface OverlayOptions {
  /** A raw image, which must never change from now on. */
  readonly base: string;
  /** Of the disk: at least the base's, rounded up to 4 KiB; the base's if absent. What is behind the base reads as zeroes. */
  readonly sizeBytes?: number;
}
export interface OpenOverlayOptions {
  readonly readOnly?: boolean;
  /** Where the base is now, if it is no longer where it was. */
  readonly base?: string;
}

/** Makes an overlay in a new file. It is there whole or not at all. @throws DiskError */
export async function createOverlay(path: string, options: OverlayOptions): Promise<void> {
  const base = await openLocked(options.base, true);
  try {
    const header = await headerFor(base, options);
    await createWhole(path, async (file) => {
      await file.writeFile(encodeHeader(header));
      await file.truncate(DATA_OFFSET + header.sizeBytes);
    });
  } finally {
    await base.file.close();
  }
}

/** Opens an overlay, locks it (for one writer, or for readers) and its base (for readers). The caller closes it. @throws DiskError */
export async function openOverlay(path: string, options: OpenOverlayOptions = {}): Promise<Disk> {
  return openOverlayDisk(path, options);
}

/** The same with its parts. */
export async function openOverlayDisk(path: string, options: OpenOverlayOptions): Promise<OverlayDisk> {
  const readOnly = options.readOnly ?? false;
  const { file, header } = await openFile(path, readOnly);
  const opened: FileHandle[] = [file];
  try {
    const base = await openBase(path, options.base ?? header.basePath, header.base);
    opened.push(base);
    const map = OverlayMap.create(header.sizeBytes);
    const host = new HostFile(path, file);
    if (!(await map.load((offset, into) => host.read(offset, [into]))))
      throw new DiskError(
        "damaged",
        `${path} is a damaged overlay (its map has impossible entries): restore it from a copy.`,
      );
    return overlayDisk(path, header, { file, base, map, readOnly, ephemeral: false });
  } catch (error) {
    for (const handle of opened) await handle.close();
    throw error;
  }
}

/** An overlay that is gone when it is closed, or its process ends: a file without a name. FLUSH does nothing: there is nobody to read it afterwards.
 *  @param directory where its file takes space  @throws DiskError */
export async function openEphemeralOverlay(directory: string, options: OverlayOptions): Promise<OverlayDisk> {
  const base = await openLocked(options.base, true);
  let file: FileHandle | undefined;
  try {
    const header = await headerFor(base, options);
    file = await openNameless(directory);
    await file.truncate(DATA_OFFSET + header.sizeBytes);
    const map = OverlayMap.create(header.sizeBytes);
    const path = `the overlay in ${directory}`;
    return overlayDisk(path, header, { file, base: base.file, map, readOnly: false, ephemeral: true });
  } catch (error) {
    await base.file.close();
    await file?.close();
    throw createError(directory, error);
  }
}

/** Makes an overlay's disk larger. It must not be in use. @param sizeBytes rounded up to 4 KiB  @throws DiskError */
export async function growOverlay(path: string, sizeBytes: number): Promise<void> {
  const { file, header } = await openFile(path, false);
  try {
    const size = roundUp(sizeBytes);
    if (size < header.sizeBytes || !isOverlaySize(size))
      throw new DiskError(
        "bad-size",
        `${path} has ${header.sizeBytes} bytes: it can grow to at most 4 TiB, but not shrink.`,
      );
    // The file first: a header that promises more than there is would be a damaged overlay.
    await file.truncate(DATA_OFFSET + size);
    await file.sync();
    await file.write(encodeHeader({ ...header, sizeBytes: size }), 0, FIRST_SECTOR_BYTES, 0);
    await file.sync();
  } catch (error) {
    throw createError(path, error);
  } finally {
    await file.close();
  }
}

/** What an overlay says of itself, without opening its base or locking it. @throws DiskError */
export async function readOverlayHeader(path: string): Promise<OverlayHeader> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw openError(path, error);
  });
  try {
    return await headerOf(path, file);
  } finally {
    await file.close();
  }
}

interface OpenParts {
  readonly file: FileHandle;
  readonly base: FileHandle;
  readonly map: OverlayMap;
  readonly readOnly: boolean;
  readonly ephemeral: boolean;
}
function overlayDisk(path: string, header: OverlayHeader, { file, base, ...rest }: OpenParts): OverlayDisk {
  return new OverlayDisk({
    ...rest,
    path,
    file: new HostFile(path, file),
    base: new HostFile(header.basePath, base),
    baseBytes: header.base.sizeBytes,
    sizeBytes: header.sizeBytes,
  });
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
async function headerFor(
  base: { file: FileHandle; sizeBytes: number },
  options: OverlayOptions,
): Promise<OverlayHeader> {
  const sizeBytes = roundUp(options.sizeBytes ?? base.sizeBytes);
  if (sizeBytes < base.sizeBytes)
    throw new DiskError(
      "bad-size",
      `${options.base} has ${base.sizeBytes} bytes: an overlay over it cannot have less; choose at least that.`,
    );
  if (!isOverlaySize(sizeBytes))
    throw new DiskError("bad-size", `An overlay cannot have ${sizeBytes} bytes: choose at most 4 TiB.`);
  return { sizeBytes, base: await identify(base.file), basePath: resolve(options.base) };
}
async function identify(file: FileHandle): Promise<BaseIdentity> {
  const { size, mtimeNs } = await file.stat({ bigint: true });
  const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const head = createHash("sha256").update(buffer.subarray(0, bytesRead)).digest();
  return { sizeBytes: Number(size), mtimeNs, head };
}

/** Opens and locks an overlay's own file. */
async function openFile(path: string, readOnly: boolean): Promise<{ file: FileHandle; header: OverlayHeader }> {
  const found = await stat(path).catch((error: unknown) => {
    throw openError(path, error);
  });
  if (!found.isFile()) throw new DiskError("not-a-file", `${path} is not a regular file: give the path of an overlay.`);
  const file = await open(path, readOnly ? "r" : "r+").catch((error: unknown) => {
    throw readOnly ? openError(path, error) : openToWriteError(path, error);
  });
  try {
    lock(file.fd, readOnly ? "shared" : "exclusive", path);
    return { file, header: await headerOf(path, file) };
  } catch (error) {
    await file.close();
    throw error;
  }
}
async function headerOf(path: string, file: FileHandle): Promise<OverlayHeader> {
  const { size } = await file.stat();
  const { buffer, bytesRead } = await file.read(new Uint8Array(HEADER_BYTES), 0, HEADER_BYTES, 0);
  return decodeHeader(buffer.subarray(0, bytesRead), size, path);
}
async function openBase(path: string, basePath: string, expected: BaseIdentity): Promise<FileHandle> {
  const { file } = await openLocked(basePath, true).catch((error: unknown) => {
    if (!(error instanceof DiskError) || error.code !== "missing") throw error;
    const message = `${path} lies over ${basePath}, which does not exist: put that image back, or remove the overlay.`;
    throw new DiskError("base-missing", message, error);
  });
  const found = await identify(file);
  const same =
    found.sizeBytes === expected.sizeBytes &&
    found.mtimeNs === expected.mtimeNs &&
    Buffer.compare(found.head, expected.head) === 0;
  if (same) return file;
  await file.close();
  const message = `${path} lies over ${basePath}, which has changed since: put the image back as it was (a copy must keep its times), or remove the overlay.`;
  throw new DiskError("base-changed", message);
}
