/* Manifests and indexes, checked: what they name, how large it is, for which platform. For registries, layouts and archives alike.
 * @source OCI image specification 1.1 "Image Manifest", "Image Index", "Layers"; distribution "Image Manifest Version 2, Schema 2" */
import { ImageError } from "../image-error.ts";
import { printable } from "./http.ts";
import { isRecord } from "./registry-settings.ts";

const INDEX_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const IMAGE_TYPES = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
/** What a client accepts. */
export const MANIFEST_TYPES = [...IMAGE_TYPES, ...INDEX_TYPES];

const CONFIG_TYPES = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYER =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)(?:[.+](?:gzip|zstd))?$/;
const FOREIGN = /foreign|nondistributable/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** docker makes at most 127. */
const MOST_LAYERS = 1000;
const MOST_ENTRIES = 1000;

/** Something by its digest. */
export interface Descriptor {
  readonly mediaType: string;
  /** "sha256:…" */
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface Manifest {
  readonly kind: "image";
  readonly config: Descriptor;
  /** From the lowest to the highest. */
  readonly layers: readonly Descriptor[];
}

/** Images for several platforms. */
export interface Index {
  readonly kind: "index";
  readonly entries: readonly IndexEntry[];
}

export interface IndexEntry extends Descriptor {
  /** "linux/arm64/v8"; "" if the index does not say. */
  readonly platform: string;
  readonly annotations: Readonly<Record<string, unknown>>;
}

/** Reads a manifest or index. @param name of the image, for messages @throws ImageError "damaged-image", "unsupported" */
export function parseManifest(bytes: Uint8Array, name: string): Manifest | Index {
  const value = parseJson(bytes, `The manifest of ${name}`);
  const { schemaVersion, manifests, layers, config } = value;
  if (schemaVersion === 1)
    throw new ImageError(
      "unsupported",
      `${name} has a manifest of docker's first kind, which registries gave up; push it anew with a tool of today.`,
    );
  // Both at once would mean different images to different readers.
  if (Array.isArray(manifests) && layers === undefined && config === undefined) return parseIndex(manifests, name);
  if (!Array.isArray(layers) || manifests !== undefined || layers.length > MOST_LAYERS)
    throw damaged(name, "its manifest has not the members of one");
  const configuration = descriptor(config, name);
  if (!CONFIG_TYPES.includes(configuration.mediaType))
    throw new ImageError(
      "unsupported",
      `${name} is no container image but ${JSON.stringify(printable(configuration.mediaType))}; give the name of an image.`,
    );
  return { kind: "image", config: configuration, layers: layers.map((layer) => layerDescriptor(layer, name)) };
}

function parseIndex(manifests: readonly unknown[], name: string): Index {
  if (manifests.length > MOST_ENTRIES) throw damaged(name, `its index has ${manifests.length} entries`);
  const entries = manifests.map((entry) => {
    const { platform, annotations } = entry as { platform?: unknown; annotations?: unknown };
    return {
      ...descriptor(entry, name),
      platform: platformText(platform),
      annotations: isRecord(annotations) ? annotations : {},
    };
  });
  return { kind: "index", entries };
}

function platformText(platform: unknown): string {
  if (!isRecord(platform)) return "";
  return [platform["os"], platform["architecture"], platform["variant"]]
    .filter((part) => typeof part === "string" && part !== "")
    .join("/");
}

/** The entries for Mere's machine, the best first: linux/amd64 itself, then x86-64-v2, which Mere's processor is; entries without a platform last,
 *  since only their configuration tells. @throws ImageError "wrong-platform" with those that there are */
export function entriesForMachine(index: Index, name: string): IndexEntry[] {
  const order = ["linux/amd64", "linux/amd64/v1", "linux/amd64/v2", ""];
  const found = index.entries
    .filter((entry) => order.includes(entry.platform))
    .filter(({ mediaType }) => mediaType === "" || MANIFEST_TYPES.includes(mediaType))
    .sort((a, b) => order.indexOf(a.platform) - order.indexOf(b.platform));
  if (found.length > 0) return found;
  const platforms = index.entries
    .map(({ platform }) => platform)
    .filter((platform) => !/^(|unknown.*)$/.test(platform));
  throw wrongPlatform(name, [...new Set(platforms)]);
}

/** @param platforms those that there are */
export function wrongPlatform(name: string, platforms: readonly string[]): ImageError {
  const others = platforms.length === 0 ? "" : `, but for ${printable(platforms.join(", "))}`;
  return new ImageError(
    "wrong-platform",
    `${name} is not made for linux/amd64${others}; Mere's machines are amd64, so use another image.`,
  );
}

function layerDescriptor(value: unknown, name: string): Descriptor {
  const layer = descriptor(value, name);
  if (FOREIGN.test(layer.mediaType))
    throw new ImageError(
      "unsupported",
      `${name} has a layer (${layer.digest}) that its maker does not let registries distribute; use an image without foreign layers.`,
    );
  if (!LAYER.test(layer.mediaType))
    throw new ImageError(
      "unsupported",
      `${name} has a layer of the kind ${JSON.stringify(printable(layer.mediaType))}; Mere reads tar, plain or compressed with gzip or zstd.`,
    );
  return layer;
}

function descriptor(value: unknown, name: string): Descriptor {
  const { mediaType = "", digest, size } = isRecord(value) ? value : {};
  if (typeof digest !== "string" || !DIGEST.test(digest) || typeof mediaType !== "string")
    throw damaged(name, "its manifest names something without a SHA-256 digest");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw damaged(name, `its manifest tells no size for ${digest}`);
  return { mediaType, digest, sizeBytes: size };
}

/** A JSON object. @param what begins the sentence @throws ImageError "damaged-image" */
export function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    value = undefined;
  }
  if (isRecord(value)) return value;
  throw new ImageError("damaged-image", `${what} is no JSON object; get the image again, or use another.`);
}

function damaged(name: string, why: string): ImageError {
  return new ImageError("damaged-image", `${name} is damaged: ${why}; get it again, or use another image.`);
}
