/* INIT: the protocol's version and which of its parts are used. @source Linux include/uapi/linux/fuse.h. Each flag's reason is in docs/shares.md.
 *
 *   fuse_init_in    +0 u32 major  +4 minor  +8 max_readahead  +12 flags
 *   fuse_init_out   +0 u32 major  +4 minor  +8 max_readahead  +12 flags  +16 u16 max_background  +18 congestion_threshold  +20 u32 max_write
 *                   +24 time_gran  +28 u16 max_pages  +30 map_alignment  +32 u32 flags2
 */
import { Errno, Refusal } from "./errno.ts";
import { FUSE_MINOR, FUSE_OLDEST_MINOR, FUSE_VERSION, InitFlag, MAX_PAGES, PAGE_BYTES } from "./fuse-protocol.ts";
import type { FuseRequest } from "./fuse-request.ts";

const INIT_OUT_BYTES = 64;
/** Requests that the guest's kernel makes ahead of its programs. */
const MAX_BACKGROUND = 64;
const CONGESTION = 48;
const FLAGS = Object.values(InitFlag).reduce((all, flag) => all | flag, 0);

export function answerInit(request: FuseRequest): Buffer {
  request.arguments(16);
  const [major, minor] = [request.u32(0), request.u32(4)];
  if (major < FUSE_VERSION || (major === FUSE_VERSION && minor < FUSE_OLDEST_MINOR)) throw new Refusal(Errno.EINVAL);
  const out = Buffer.alloc(INIT_OUT_BYTES);
  out.writeUInt32LE(FUSE_VERSION, 0);
  // A newer kernel asks again, with this version.
  if (major > FUSE_VERSION) return out;
  out.writeUInt32LE(Math.min(minor, FUSE_MINOR), 4);
  out.writeUInt32LE(request.u32(8), 8);
  out.writeInt32LE(request.u32(12) & FLAGS, 12);
  out.writeUInt16LE(MAX_BACKGROUND, 16);
  out.writeUInt16LE(CONGESTION, 18);
  out.writeUInt32LE(MAX_PAGES * PAGE_BYTES, 20);
  out.writeUInt32LE(1, 24);
  out.writeUInt16LE(MAX_PAGES, 28);
  return out;
}
