/* openDisk: a disk image of either format, told apart by its name. I/O thread. */
import type { Disk } from "../device/virtio/disk.ts";
import { openOverlay } from "./overlay.ts";
import { openRawDisk } from "./raw.ts";

/** Files of this name are overlays, all others raw images. Not the content decides: a guest writes what it likes to the first sector of its raw disk, and an overlay's header
 *  names a file of the host to read. */
export const OVERLAY_SUFFIX = ".overlay";

export function isOverlayName(path: string): boolean {
  return path.endsWith(OVERLAY_SUFFIX);
}

/** Opens a raw image, or an overlay, and locks it: for one writer, or for readers. The caller closes it. @throws DiskError */
export async function openDisk(path: string, options: { readOnly?: boolean } = {}): Promise<Disk> {
  return isOverlayName(path) ? openOverlay(path, options) : openRawDisk(path, options);
}
