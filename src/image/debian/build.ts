/* Images made of Debian packages (docs/images.md "Debian images"): apt resolves and downloads, Mere unpacks, a VM configures; or a VM installs what a stored image
 * does not have yet. Nothing is installed on the host and no root is needed. @source debootstrap(8) and mmdebstrap(1) for what an installed Debian has */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Apt } from "../apt.ts";
import { ImageError } from "../image-error.ts";
import type { DebianReference } from "../oci/reference.ts";
import { PackageError } from "../package-error.ts";
import { usedBytesOf } from "../store/commit.ts";
import { inDownloadDirectory } from "../store/download-directory.ts";
import { makeImage } from "../store/make.ts";
import type { ConfigureInVm, ImageOptions } from "../store/options.ts";
import { downloadsDir, imagesDir, writingUnder } from "../store/places.ts";
import { digestHex, nameImage, readImage } from "../store/records.ts";
import { EMPTY_CONFIG, type StoredImage } from "../store/stored-image.ts";
import { inWorkDirectory } from "../store/work-directory.ts";
import { IMAGE_PATH, PACKAGES_DIRECTORY, configureScript, installScript } from "./configure-script.ts";
import { type Configuration, runConfiguration } from "./configuration.ts";
import { readControl } from "./package-archive.ts";
import { type Deb, packageLayer } from "./package-layer.ts";
import { writePlainPackage } from "./plain-package.ts";
import { OTHERWISE, RECIPE, type Recipe, furtherPackages, nameAndVersion, recipeId, resolveRecipe } from "./recipe.ts";
import { unpackBatches } from "./unpack-batches.ts";

/** The image of Debian's newest packages, from the store if it has just those. Takes minutes otherwise; less if the store has their base, which is kept too.
 *  @throws ImageError "configure-failed", PackageError, the builder's errors, the signal's reason */
export async function buildDebianImage(reference: DebianReference, options: ImageOptions = {}): Promise<StoredImage> {
  const parent = downloadsDir(options);
  const { onProgress, signal } = options;
  return writingUnder(parent, "XDG_CACHE_HOME", () =>
    inWorkDirectory(parent, async (work) => {
      const apt = await Apt.open(join(work, "apt"), { onProgress, signal, otherwise: OTHERWISE });
      return ensureRecipe(await resolveRecipe(apt, reference), apt, options);
    }),
  );
}

/** The image of a recipe, under its name. */
async function ensureRecipe(recipe: Recipe, apt: Apt, options: ImageOptions): Promise<StoredImage> {
  const id = recipeId(recipe);
  if ((await readImage(id, options)) === undefined) {
    const { configure } = options;
    if (configure === undefined)
      throw new ImageError(
        "unsupported",
        `${recipe.name} is not in the store, and here is no VM to configure its packages in; make it with 'mere image pull ${recipe.name}'.`,
      );
    await inDownloadDirectory(digestHex(id), options, async (directory) => {
      if ((await readImage(id, options)) === undefined) await make(recipe, { apt, configure, directory }, options);
    });
  }
  return writingUnder(imagesDir(options), "XDG_DATA_HOME", () => nameImage(id, recipe.name, options));
}

interface Making {
  readonly apt: Apt;
  readonly configure: ConfigureInVm;
  /** For downloads; gone when the image is there. */
  readonly directory: string;
}

async function make(recipe: Recipe, { apt, configure, directory }: Making, options: ImageOptions): Promise<void> {
  const { name, sources, packages, base } = recipe;
  const image = base && ((await readImage(recipeId(base), options)) ?? (await ensureRecipe(base, apt, options)));
  const debs = await download(apt, recipe, directory, options.signal);
  const controls = debs.map(({ control }) => control);
  await makeImage(
    {
      id: recipeId(recipe),
      config: { ...EMPTY_CONFIG, env: [IMAGE_PATH], cmd: ["/bin/bash"] },
      content: image ?? [packageLayer(name, debs, sources, options)],
      documents: {
        manifest: Buffer.from(JSON.stringify({ recipe: RECIPE, packages: packages.map(nameAndVersion) }, undefined, 1)),
      },
      finish: async (disk) => {
        const configuration =
          image === undefined
            ? { script: configureScript(controls), packages: debs.length }
            : await installation(debs, directory, options);
        await runConfiguration(disk, configuration, configure, options);
        return usedBytesOf(disk);
      },
    },
    options,
  );
}

/** Downloads exactly these versions, those that are not there yet. */
async function download(apt: Apt, recipe: Recipe, directory: string, signal: AbortSignal | undefined): Promise<Deb[]> {
  const packages = furtherPackages(recipe);
  const found = await apt.download(
    packages.map(nameAndVersion),
    recipe.base === undefined,
    join(directory, "archives"),
  );
  const paths = new Map(found.map((file) => [nameAndVersion(file), file.path]));
  const debs: Deb[] = [];
  for (const entry of packages) {
    const path = paths.get(nameAndVersion(entry));
    if (path === undefined)
      throw new PackageError(
        "failed",
        `apt downloaded no file for ${nameAndVersion(entry)}; try again, or ${OTHERWISE}.`,
      );
    debs.push({ path, control: await readControl(path, signal) });
  }
  return debs;
}

/** How dpkg installs packages in the VM. @param directory where the VM may find them */
async function installation(
  debs: readonly Deb[],
  directory: string,
  { signal, onProgress }: ImageOptions,
): Promise<Configuration> {
  const shared = { host: join(directory, "plain"), guest: PACKAGES_DIRECTORY };
  // What a killed process left.
  await rm(shared.host, { recursive: true, force: true });
  const batches = unpackBatches(debs);
  let done = 0;
  for (const [index, { packages }] of batches.entries()) {
    const place = join(shared.host, String(index));
    await mkdir(place, { recursive: true });
    for (const { path, control } of packages) {
      onProgress?.("unpack", done++, debs.length);
      await writePlainPackage(path, join(place, `${control.name}.deb`), signal);
    }
  }
  onProgress?.("unpack", debs.length, debs.length);
  return { script: installScript(batches), packages: debs.length, shared };
}
