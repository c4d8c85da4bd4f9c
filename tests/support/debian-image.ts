/* Images of Debian packages for tests. Making the base takes minutes of a guest, so it is made once for all tests, and made anew only when the sources that make it have changed. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Host } from "../../src/host/host.ts";
import { defaultCacheDir } from "../../src/image/cache.ts";

const SRC = fileURLToPath(new URL("../../src/", import.meta.url));
/** What decides how such an image comes out, beside Debian. */
const MAKERS = ["image/debian", "image/ext4", "image/root", "image/store", "host/configure-vm.ts"];
/** nginx brings a preinst script, a user, conffiles and services that must not start. */
export const DEBIAN_IMAGE = "debian:nginx";

function key(): string {
  const hash = createHash("sha256");
  for (const maker of MAKERS) {
    const files = maker.endsWith(".ts") ? [maker] : readdirSync(join(SRC, maker)).map((name) => join(maker, name));
    for (const file of files.filter((name) => !name.endsWith(".test.ts")).sort())
      hash.update(`\0${file}\0`).update(readFileSync(join(SRC, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Makes sure of that image and of its base, `debian`. @returns the environment in which `mere` and programs with the SDK find it */
export async function debianImage(): Promise<{ XDG_DATA_HOME: string }> {
  const data = join(defaultCacheDir(), "test-images", key());
  const dataDirectory = join(data, "mere");
  await new Host({ dataDirectory }).images.ensure(DEBIAN_IMAGE);
  return { XDG_DATA_HOME: data };
}
