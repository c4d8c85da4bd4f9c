/* All packages of an image as one layer, for a root disk made from nothing: unpacked, with dpkg's database and what the image has of its own. */
import type { RootImageLayer } from "../root/root-image.ts";
import type { ImageOptions } from "../store/options.ts";
import { POLICY_RC_D } from "./configure-script.ts";
import { type UnpackedPackage, databaseEntries } from "./dpkg-database.ts";
import { DPKG_EXCLUSIONS } from "./exclusions.ts";
import { type ControlFiles, readFiles } from "./package-archive.ts";
import { TAR_END, fileEntry } from "./tar-writer.ts";
import { UnpackedTree } from "./unpacked-tree.ts";

/** A package with its control files. */
export interface Deb {
  readonly path: string;
  readonly control: ControlFiles;
}

/** @param debs in an order in which they can be unpacked */
export function packageLayer(
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
      // As Debian's cloud images have it. Without, cloud-init wants a locale that no package of these has, and fails.
      yield fileEntry("./etc/default/locale", "LANG=C.UTF-8\n");
      yield fileEntry(POLICY_RC_D.path, POLICY_RC_D.content, 0o755);
      if (sources !== undefined) yield fileEntry("./etc/apt/sources.list.d/debian.sources", sources);
      yield TAR_END;
    },
  };
}
