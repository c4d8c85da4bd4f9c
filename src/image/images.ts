/* Images as the rest of Mere uses them (docs/images.md): had, listed, removed, imported, built, committed. One place to import from. */
import { buildDebianImage } from "./debian/build.ts";
import { ImageError } from "./image-error.ts";
import { parseReference } from "./oci/reference.ts";
import { type RegistryOptions, pullImage } from "./oci/pull.ts";
import { deriveImage, ownName } from "./store/commit.ts";
import { findImage, findImageOrFail } from "./store/find.ts";
import type { EnsureOptions, StorePlaces } from "./store/options.ts";
import { forgetName } from "./store/records.ts";
import { removeStored } from "./store/remove.ts";
import type { ImageConfig, StoredImage } from "./store/stored-image.ts";

export { ImageError } from "./image-error.ts";
export { importImages } from "./oci/import.ts";
export { commitImage } from "./store/commit.ts";
export { findImage } from "./store/find.ts";
export type * from "./store/options.ts";
export { listImages } from "./store/records.ts";
export type { ImageConfig, StoredImage } from "./store/stored-image.ts";
export { holdImage, useImage } from "./store/use.ts";

/** The image that a reference means: from the store, else from its registry or from Debian's packages.
 *  @param reference "nginx:1.27", "host:5000/a@sha256:…", "debian:curl,git", or an id of the store's
 *  @throws ImageError, PackageError, the root disk builder's errors, the signal's reason */
export async function ensureImage(
  reference: string,
  options: EnsureOptions & Pick<RegistryOptions, "patience" | "settings"> = {},
): Promise<StoredImage> {
  const pull = options.pull ?? "missing";
  const found = await findImage(reference, options);
  if (found !== undefined && (pull !== "always" || found.name === undefined)) return found.image;
  if (pull === "never" || reference.startsWith("sha256:"))
    throw new ImageError(
      "not-found",
      `The store has no image ${reference}; see 'mere image list'${pull === "never" ? `, or get it with 'mere image pull ${reference}'` : ""}.`,
    );
  const parsed = parseReference(reference);
  return parsed.kind === "debian" ? buildDebianImage(parsed, options) : pullImage(parsed, options);
}

/** What removal did. */
export interface Removal {
  readonly image: StoredImage;
  /** Names that mean nothing any more. */
  readonly names: string[];
  /** False: the image has other names and stays. */
  readonly removed: boolean;
}

/** Removes a name, and the image with its last one; or by its id the image with all names. @throws ImageError "not-found", "in-use", "ambiguous" */
export async function removeImage(reference: string, places: StorePlaces = {}): Promise<Removal> {
  const { image, name } = await findImageOrFail(reference, places);
  if (name !== undefined && image.names.length > 1) {
    await forgetName(name, places);
    return { image, names: [name], removed: false };
  }
  await removeStored(image, places);
  return { image, names: [...image.names], removed: true };
}

/** Gives the image `from` under a name of one's own another configuration. @param changes what differs; env is added to the image's
 *  @throws as ensureImage */
export async function buildImage(
  name: string,
  from: string,
  changes: Partial<ImageConfig>,
  options: EnsureOptions = {},
): Promise<StoredImage> {
  ownName(name);
  const base = await ensureImage(from, options);
  return deriveImage({ base, config: changedConfig(base.config, changes), name }, options);
}

/** A configuration with changes: an entrypoint of one's own does not get the words that the image's got, as in docker. */
export function changedConfig(config: ImageConfig, changes: Partial<ImageConfig>): ImageConfig {
  const { env, labels, ...others } = changes;
  const names = new Set(env?.map((entry) => entry.split("=", 1)[0]));
  return {
    ...config,
    ...(changes.entrypoint !== undefined && { cmd: [] }),
    ...others,
    env: [...config.env.filter((entry) => !names.has(entry.split("=", 1)[0]!)), ...(env ?? [])],
    labels: { ...config.labels, ...labels },
  };
}
