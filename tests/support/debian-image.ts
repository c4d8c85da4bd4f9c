/* The image `debian` for tests: built once, which takes minutes, and kept in the cache beside other things that tests make. */
import { join } from "node:path";
import { Host } from "../../src/host/host.ts";
import { defaultCacheDir } from "../../src/image/cache.ts";

/** Where tests' images are: HostPlaces.dataDirectory. */
export const TEST_DATA = join(defaultCacheDir(), "test-data");

/** Makes sure of the image. @returns the environment in which `mere` and programs with the SDK find it */
export async function debianImage(): Promise<Record<string, string>> {
  await new Host({ dataDirectory: join(TEST_DATA, "mere") }).images.ensure("debian");
  return { XDG_DATA_HOME: TEST_DATA };
}
