/* Images of the store by what a user calls them: a name, an id, or the beginning of an id. */
import { ImageError } from "../image-error.ts";
import { idDigits, parseReference } from "../oci/reference.ts";
import type { StorePlaces } from "./options.ts";
import { digestHex, imageByName, listImages } from "./records.ts";
import type { StoredImage } from "./stored-image.ts";

/** How an image was found. */
export interface Found {
  readonly image: StoredImage;
  /** The name that led to it; undefined: its id. */
  readonly name: string | undefined;
}

/** @returns undefined if the store has no such image @throws ImageError "bad-reference", "ambiguous" */
export async function findImage(text: string, places: StorePlaces = {}): Promise<Found | undefined> {
  const digits = idDigits(text);
  if (!text.startsWith("sha256:")) {
    const { name } = parseReference(text);
    const image = await imageByName(name, places);
    if (image !== undefined) return { image, name };
  }
  if (digits === undefined) return undefined;
  const [image, other] = (await listImages(places)).filter(({ id }) => digestHex(id).startsWith(digits));
  if (other !== undefined)
    throw new ImageError("ambiguous", `Several images have an id that begins with ${digits}; write more digits of it.`);
  return image && { image, name: undefined };
}

/** @throws ImageError "not-found" and those of findImage */
export async function findImageOrFail(text: string, places: StorePlaces = {}): Promise<Found> {
  const found = await findImage(text, places);
  if (found !== undefined) return found;
  throw new ImageError(
    "not-found",
    `The store has no image ${text}; see 'mere image list', or get it with 'mere image pull ${text}'.`,
  );
}
