/* The images of a host: where VMs' root disks come from. A thin layer over src/image that knows how to run a VM, which images of Debian packages need. What makes
 * images is loaded when it is used: who only talks to VMs that run does not pay for it. */
import type { Commit } from "../image/store/commit.ts";
import type { EnsureOptions, ImageOptions } from "../image/store/options.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import type { HostPlaces } from "./host.ts";

export type { StoredImage };

/** What Host.images takes besides the names. */
export type HostImageOptions = Pick<ImageOptions, "signal" | "onProgress">;

export class HostImages {
  readonly #places: HostPlaces;
  constructor(places: HostPlaces) {
    this.#places = places;
  }
  /** What functions of src/image are told. */
  options(options: HostImageOptions = {}): ImageOptions {
    const { dataDirectory: dataDir, cacheDirectory: cacheDir } = this.#places;
    return {
      ...options,
      dataDir,
      cacheDir,
      configure: async (disk, script, how) => {
        const { configureInVm } = await import("./configure-vm.ts");
        return configureInVm(disk, script, { cacheDir, ...how });
      },
    };
  }

  /** An image by its reference, pulled or built if the store does not have it. @throws ImageError, PackageError */
  async ensure(reference: string, options: HostImageOptions & Pick<EnsureOptions, "pull"> = {}): Promise<StoredImage> {
    const { ensureImage } = await import("../image/images.ts");
    return ensureImage(reference, { ...this.options(options), pull: options.pull });
  }
  /** The newest version of an image. @throws ImageError, PackageError */
  async pull(reference: string, options: HostImageOptions = {}): Promise<StoredImage> {
    return this.ensure(reference, { ...options, pull: "always" });
  }
  async list(): Promise<StoredImage[]> {
    const { listImages } = await import("../image/images.ts");
    return listImages(this.options());
  }
  /** Removes a name, and the image with its last one. @throws ImageError "in-use" while a VM uses it */
  async remove(reference: string): Promise<{ names: string[]; removed: boolean }> {
    const { removeImage } = await import("../image/images.ts");
    return removeImage(reference, this.options());
  }
  /** Makes an image of a root disk that `writeDisk` writes. @throws ImageError */
  async commit(commit: Commit): Promise<StoredImage> {
    const { commitImage } = await import("../image/images.ts");
    return commitImage(commit, this.options());
  }
  /** Takes images of an OCI layout or a `docker save` archive. @param path of a directory or a file; "-" is standard input @throws ImageError */
  async import(path: string, options: HostImageOptions & { name?: string } = {}): Promise<StoredImage[]> {
    const { importImages } = await import("../image/images.ts");
    return importImages(path, { ...this.options(options), ...(options.name !== undefined && { name: options.name }) });
  }
}
