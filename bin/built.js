// Whether dist/ is made from the sources as they are now: it is newer than all of them, as `make` would ask. A package has no sources, and is.
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** @param root the folder of package.json */
export function isBuilt(root) {
  const built = statSync(join(root, "dist", "main.js"), { throwIfNoEntry: false });
  if (built === undefined) return false;
  if (!existsSync(join(root, "src"))) return true;
  const others = ["package.json", join("tools", "build.ts")];
  return (
    others.every((name) => olderThan(built.mtimeMs, join(root, name))) && allOlderThan(built.mtimeMs, join(root, "src"))
  );
}
function olderThan(time, path) {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined || found.mtimeMs < time;
}
/** A folder's own time is that of the last name that came or went. */
function allOlderThan(time, folder) {
  if (!olderThan(time, folder)) return false;
  for (const entry of entries(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!allOlderThan(time, path)) return false;
    } else if (!entry.name.endsWith(".test.ts") && !olderThan(time, path)) return false;
  }
  return true;
}
function entries(folder) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
