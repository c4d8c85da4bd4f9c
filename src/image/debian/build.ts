/* Images made of Debian packages (docs/images.md "Debian images"): apt resolves and downloads, Mere unpacks, a VM configures.
 * Nothing is installed on the host and no root is needed. @source debootstrap(8) and mmdebstrap(1) for what an installed Debian has */
import { join } from "node:path";
import { Apt, type ResolvedPackage } from "../apt.ts";
import { ImageError } from "../image-error.ts";
import { printable } from "../oci/http.ts";
import type { DebianReference } from "../oci/reference.ts";
import { PackageError } from "../package-error.ts";
import type { RootImageLayer } from "../root/root-image.ts";
import { digestOf, usedBytesOf } from "../store/commit.ts";
import { inDownloadDirectory } from "../store/download-directory.ts";
import { makeImage } from "../store/make.ts";
import type { ConfigureInVm, ImageOptions } from "../store/options.ts";
import { downloadsDir, imagesDir, writingUnder } from "../store/places.ts";
import { digestHex, nameImage, readImage } from "../store/records.ts";
import { EMPTY_CONFIG, type StoredImage } from "../store/stored-image.ts";
import { inWorkDirectory } from "../store/work-directory.ts";
import { ConfigureProgress, IMAGE_PATH, POLICY_RC_D, configureScript } from "./configure-script.ts";
import { type UnpackedPackage, databaseEntries } from "./dpkg-database.ts";
import { DPKG_EXCLUSIONS } from "./exclusions.ts";
import { type ControlFiles, readControl, readFiles } from "./package-archive.ts";
import { imageSources } from "./sources.ts";
import { TAR_END, fileEntry } from "./tar-writer.ts";
import { UnpackedTree } from "./unpacked-tree.ts";

/** Changes when the making does, so that images made before are not taken. */
const RECIPE = 1;
/** Every image has these: what Debian calls essential and required, and what people expect of an image. */
const BASE_PACKAGES = ["?essential", "?priority(required)", "apt", "ca-certificates", "python3"];
/** Says that /usr is merged, in place of a package that merges it with perl. Newer Debians need neither. */
const USR_IS_MERGED = "usr-is-merged";
/** What a user may do where packages cannot be had. */
const OTHERWISE = "use an image of a registry";
/** Of a configuration that failed. */
const LAST_LINES = 12;
/** More than any configuration writes. */
const LONGEST_LOG = 1 << 20;

/** A package with its control files, in an order in which they can be unpacked. */
interface Deb {
  readonly path: string;
  readonly control: ControlFiles;
}

/** The image of Debian's newest packages, from the store if it has just those. Takes minutes otherwise.
 *  @throws ImageError "configure-failed", PackageError, the builder's errors, the signal's reason */
export async function buildDebianImage(reference: DebianReference, options: ImageOptions = {}): Promise<StoredImage> {
  const parent = downloadsDir(options);
  const id = await writingUnder(parent, "XDG_CACHE_HOME", () =>
    inWorkDirectory(parent, async (work) => {
      const { apt, packages, sources } = await resolve(reference, join(work, "apt"), options);
      const key = digestOf({ recipe: RECIPE, sources: sources ?? "", packages: packages.map(nameAndVersion).sort() });
      if ((await readImage(key, options)) !== undefined) return key;
      const { configure } = options;
      if (configure === undefined)
        throw new ImageError(
          "unsupported",
          `${reference.name} is not in the store, and here is no VM to configure its packages in; make it with 'mere image pull ${reference.name}'.`,
        );
      await inDownloadDirectory(digestHex(key), options, async (directory) => {
        if ((await readImage(key, options)) !== undefined) return;
        const debs = await download(apt, packages, directory, options.signal);
        await build({ id: key, name: reference.name, debs, sources }, configure, options);
      });
      return key;
    }),
  );
  return writingUnder(imagesDir(options), "XDG_DATA_HOME", () => nameImage(id, reference.name, options));
}

function nameAndVersion({ name, version }: { name: string; version: string }): string {
  return `${name}=${version}`;
}

/** Asks apt which packages the image has, and which archives they come from. */
async function resolve(
  reference: DebianReference,
  directory: string,
  options: ImageOptions,
): Promise<{ apt: Apt; packages: ResolvedPackage[]; sources: string | undefined }> {
  const { signal, onProgress } = options;
  const apt = await Apt.open(directory, { onProgress, signal, otherwise: OTHERWISE });
  const isKnown = await apt.has(USR_IS_MERGED);
  const names = [...BASE_PACKAGES, ...(isKnown ? [USR_IS_MERGED] : []), ...reference.packages];
  const packages = await apt.resolve(names);
  if (packages.length === 0)
    throw new PackageError(
      "failed",
      `apt names no packages for ${reference.name}; see whether "apt-get update" works.`,
    );
  return { apt, packages, sources: imageSources(await apt.sources()) };
}

async function build(
  { id, name, debs, sources }: { id: string; name: string; debs: readonly Deb[]; sources: string | undefined },
  configure: ConfigureInVm,
  options: ImageOptions,
): Promise<void> {
  const controls = debs.map(({ control }) => control);
  const packages = controls.map(nameAndVersion);
  await makeImage(
    {
      id,
      config: { ...EMPTY_CONFIG, env: [IMAGE_PATH], cmd: ["/bin/bash"] },
      layers: [packageLayer(name, debs, sources, options)],
      documents: { manifest: Buffer.from(JSON.stringify({ recipe: RECIPE, packages }, undefined, 1)) },
      finish: async (disk) => {
        await configureDisk(disk, configureScript(controls), configure, controls.length, options);
        return usedBytesOf(disk);
      },
    },
    options,
  );
}

/** Downloads exactly these versions, those that are not there yet. */
async function download(
  apt: Apt,
  packages: readonly ResolvedPackage[],
  directory: string,
  signal: AbortSignal | undefined,
): Promise<Deb[]> {
  const found = await apt.download(packages.map(nameAndVersion), true, join(directory, "archives"));
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

/** All packages unpacked, dpkg's database, and what the image has of its own. */
function packageLayer(
  name: string,
  debs: readonly Deb[],
  sources: string | undefined,
  { signal, onProgress }: ImageOptions,
): RootImageLayer {
  return {
    name,
    async *open() {
      const tree = new UnpackedTree();
      const unpacked: UnpackedPackage[] = [];
      for (const { path, control } of debs) {
        onProgress?.("unpack", unpacked.length, debs.length);
        const sink = tree.package(control);
        for await (const _piece of readFiles(path, sink, signal)) yield* tree.take();
        unpacked.push({ control, files: sink.end() });
        yield* tree.take();
      }
      onProgress?.("unpack", debs.length, debs.length);
      yield* databaseEntries(unpacked);
      yield fileEntry("./etc/dpkg/dpkg.cfg.d/excludes", DPKG_EXCLUSIONS);
      yield fileEntry("./etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
      yield fileEntry(POLICY_RC_D.path, POLICY_RC_D.content, 0o755);
      if (sources !== undefined) yield fileEntry("./etc/apt/sources.list.d/debian.sources", sources);
      yield TAR_END;
    },
  };
}

async function configureDisk(
  disk: string,
  script: string,
  configure: ConfigureInVm,
  packages: number,
  { signal, onProgress }: ImageOptions,
): Promise<void> {
  const progress = new ConfigureProgress(packages, (done, total) => onProgress?.("configure", done, total));
  const { status, log } = await configure(disk, script, {
    ...(signal !== undefined && { signal }),
    onOutput: (text) => progress.push(text),
  });
  signal?.throwIfAborted();
  if (status === 0) return;
  const lines = log.slice(-LONGEST_LOG).trimEnd().split("\n").slice(-LAST_LINES);
  throw new ImageError(
    "configure-failed",
    `Debian's packages could not be configured (status ${status}); leave out a package that does not install, or ${OTHERWISE}. The last words were:\n${lines.map((line) => `  ${printable(line)}\n`).join("")}`.trimEnd(),
  );
}
