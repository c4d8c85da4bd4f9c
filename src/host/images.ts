/* The images of a host: where VMs' root disks come from. A thin layer over src/image that knows how to run a VM, which images of Debian packages need. */
import { type StoredImage, ensureImage, importImages, listImages, removeImage } from "../image/images.ts";
import type { EnsureOptions, ImageOptions } from "../image/store/options.ts";
import { configureInVm } from "./configure-vm.ts";
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
      configure: (disk, script, how) => configureInVm(disk, script, { cacheDir, ...how }),
    };
  }

  /** An image by its reference, pulled or built if the store does not have it. @throws ImageError, PackageError */
  async ensure(reference: string, options: HostImageOptions & Pick<EnsureOptions, "pull"> = {}): Promise<StoredImage> {
    return ensureImage(reference, { ...this.options(options), pull: options.pull });
  }
  /** The newest version of an image. @throws ImageError, PackageError */
  async pull(reference: string, options: HostImageOptions = {}): Promise<StoredImage> {
    return this.ensure(reference, { ...options, pull: "always" });
  }
  async list(): Promise<StoredImage[]> {
    return listImages(this.options());
  }
  /** Removes a name, and the image with its last one. @throws ImageError "in-use" while a VM uses it */
  async remove(reference: string): Promise<{ names: string[]; removed: boolean }> {
    return removeImage(reference, this.options());
  }
  /** Takes images of an OCI layout or a `docker save` archive. @param path of a directory or a file; "-" is standard input @throws ImageError */
  async import(path: string, options: HostImageOptions & { name?: string } = {}): Promise<StoredImage[]> {
    return importImages(path, { ...this.options(options), ...(options.name !== undefined && { name: options.name }) });
  }
}
