/* From a reference to an image in the store: resolve, download, make the root disk, put it in place. Nothing has a name before it is whole.
 * On the main thread; the work is waiting, hashing and zlib, which Node does on its own threads. */
import { ImageError } from "../image-error.ts";
import { inDownloadDirectory } from "../store/download-directory.ts";
import { makeImage } from "../store/make.ts";
import type { ImageOptions } from "../store/options.ts";
import { imagesDir, writingUnder } from "../store/places.ts";
import { digestHex, nameImage, readImage } from "../store/records.ts";
import type { StoredImage } from "../store/stored-image.ts";
import { downloadBlobs } from "./download.ts";
import { PATIENCE, type Patience } from "./http.ts";
import { type ImageDocument, parseImageConfig } from "./image-config.ts";
import { fileLayers } from "./layer.ts";
import { type Manifest, entriesForMachine, parseManifest } from "./manifest.ts";
import type { RegistryReference } from "./reference.ts";
import { type Document, RegistryClient } from "./registry-client.ts";
import { type RegistrySettings, endpointsFor, readRegistrySettings } from "./registry-settings.ts";

/** Indexes may name indexes; nobody nests them deeper. */
const DEEPEST_INDEX = 3;

export interface RegistryOptions extends ImageOptions {
  readonly patience?: Patience | undefined;
  /** Default: from the configuration file and the environment. */
  readonly settings?: RegistrySettings | undefined;
}

/** An image as the registry describes it. */
interface Resolved {
  readonly client: RegistryClient;
  readonly manifest: Manifest;
  readonly manifestBytes: Buffer;
  readonly configBytes: Buffer;
  readonly document: ImageDocument;
}

/** Gets an image from its registry, unless the store has that very image, and gives it its name. @throws ImageError and its causes, the signal's reason */
export async function pullImage(reference: RegistryReference, options: RegistryOptions = {}): Promise<StoredImage> {
  options.onProgress?.("resolve", 0, 0);
  const resolved = await resolve(reference, options);
  const id = resolved.manifest.config.digest;
  if ((await readImage(id, options)) === undefined) await fetchImage(id, reference.name, resolved, options);
  return writingUnder(imagesDir(options), "XDG_DATA_HOME", () => nameImage(id, reference.name, options));
}

async function fetchImage(id: string, name: string, resolved: Resolved, options: RegistryOptions): Promise<void> {
  const { client, manifest, document } = resolved;
  await inDownloadDirectory(
    digestHex(id),
    options,
    async (directory) => {
      // Whoever had the directory before may have been at the same image.
      if ((await readImage(id, options)) !== undefined) return;
      const paths = await downloadBlobs(client, manifest.layers, directory, (done, total) =>
        options.onProgress?.("download", done, total),
      );
      const ranges = paths.map((path, index) => ({ path, start: 0, length: manifest.layers[index]!.sizeBytes }));
      const layers = fileLayers(ranges, document.diffIds, name, (done, total) =>
        options.onProgress?.("build", done, total),
      );
      const documents = { manifest: resolved.manifestBytes, config: resolved.configBytes };
      await makeImage({ id, config: document.config, content: layers, documents }, options);
    },
    // What is as its manifest names it, and yet no image, is nothing to go on with.
    (error) => !USELESS.has((error as { code?: unknown }).code),
  );
}

const USELESS = new Set<unknown>([
  "digest-mismatch",
  "damaged-layer",
  "wrong-digest",
  "refused-entry",
  "unsupported",
  "too-large",
]);

/** Asks the endpoints in order. One that lacks the image, or cannot be reached, passes the question on. */
async function resolve(reference: RegistryReference, options: RegistryOptions): Promise<Resolved> {
  const settings = options.settings ?? (await readRegistrySettings());
  const clientOptions = { patience: options.patience ?? PATIENCE, signal: options.signal };
  let told: ImageError | undefined;
  for (const endpoint of endpointsFor(reference, settings)) {
    for (const repository of endpoint.repositories) {
      try {
        return await describe(new RegistryClient(endpoint, repository, clientOptions), reference);
      } catch (error) {
        if (!(error instanceof ImageError) || !(LACKS.has(error.code) || FAILS.has(error.code))) throw error;
        // Of several reasons, "not there" says least.
        if (told === undefined || told.code === "unknown-image") told = error;
        if (FAILS.has(error.code)) break;
      }
    }
  }
  throw told!;
}

/** Another repository may have it: some registries say "unauthorized" where there is nothing. */
const LACKS = new Set(["unknown-image", "unauthorized"]);
/** Another endpoint may do better. */
const FAILS = new Set(["network", "stalled", "registry", "rate-limited"]);

async function describe(client: RegistryClient, reference: RegistryReference): Promise<Resolved> {
  const { name } = reference;
  const document = await client.manifest(reference.digest === "" ? reference.tag : reference.digest);
  const { manifest, bytes } = await imageManifest(client, document, name, 0);
  const { config, layers } = manifest;
  const configBytes = await client.document(config.digest, config.sizeBytes);
  const parsed = parseImageConfig(configBytes, name);
  if (parsed.diffIds.length !== layers.length)
    throw new ImageError(
      "damaged-image",
      `${name} has ${layers.length} layers, but its configuration tells of ${parsed.diffIds.length}; use another image.`,
    );
  return { client, manifest, manifestBytes: bytes, configBytes, document: parsed };
}

async function imageManifest(
  client: RegistryClient,
  document: Document,
  name: string,
  depth: number,
): Promise<{ manifest: Manifest; bytes: Buffer }> {
  const parsed = parseManifest(document.bytes, name);
  if (parsed.kind === "image") return { manifest: parsed, bytes: document.bytes };
  if (depth === DEEPEST_INDEX)
    throw new ImageError("damaged-image", `${name} is an index of indexes without an end; use another image.`);
  const [entry] = entriesForMachine(parsed, name);
  return imageManifest(client, await client.manifest(entry!.digest), name, depth + 1);
}
