/* An image of Debian packages for tests. Making one takes minutes of a guest, so there is one for all tests, and it is made anew only when the sources that make it have changed. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Host } from "../../src/host/host.ts";
import { defaultCacheDir } from "../../src/image/cache.ts";
import { nameImage } from "../../src/image/store/records.ts";

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

/** Makes sure of the image, which also has the name `debian`. @returns the environment in which `mere` and programs with the SDK find it */
export async function debianImage(): Promise<{ XDG_DATA_HOME: string }> {
  const data = join(defaultCacheDir(), "test-images", key());
  const dataDirectory = join(data, "mere");
  const { id } = await new Host({ dataDirectory }).images.ensure(DEBIAN_IMAGE);
  await nameImage(id, "debian", { dataDir: dataDirectory });
  return { XDG_DATA_HOME: data };
}
