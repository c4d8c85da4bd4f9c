/* Where disks that have names are. */
import { join } from "node:path";
import { defaultDataDir } from "../image/store/places.ts";

/** $XDG_DATA_HOME/mere/disks. @param dataDirectory instead of $XDG_DATA_HOME/mere */
export function disksDirectory(dataDirectory?: string): string {
  return join(dataDirectory ?? defaultDataDir(), "disks");
}
