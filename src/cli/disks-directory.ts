/* Where disks that have names are. */
import { join } from "node:path";
import { defaultDataDir } from "../image/store/places.ts";

/** $XDG_DATA_HOME/mere/disks */
export function disksDirectory(): string {
  return join(defaultDataDir(), "disks");
}
