/* What the store tells of an image. Everything here has been checked when the image came in. */

/** How programs are started in an image. @source OCI image specification, "Image Configuration", config */
export interface ImageConfig {
  /** Words before `cmd`, or before the user's words; empty if there are none. */
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** "NAME=value", in the image's order. */
  readonly env: readonly string[];
  /** Absolute; "/" if the image says nothing. */
  readonly workingDir: string;
  /** "", "user", "uid", "user:group", "uid:gid": to be looked up in the guest. */
  readonly user: string;
  /** "80/tcp", "53/udp". */
  readonly exposedPorts: readonly string[];
  /** "SIGTERM", "15"; "" if the image says nothing. */
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** One image in the store. */
export interface StoredImage {
  /** "sha256:" and 64 hexadecimal digits. */
  readonly id: string;
  /** As a user writes them, sorted: "nginx:latest", "debian", "localhost:5000/a:1". */
  readonly names: readonly string[];
  /** Path of a raw ext4 file. For reading only: all VMs of the image share it. */
  readonly rootDisk: string;
  /** Length of the root disk. */
  readonly sizeBytes: number;
  /** What its files take. */
  readonly usedBytes: number;
  /** When the store got it, in ISO 8601. */
  readonly createdAt: string;
  readonly architecture: "amd64";
  readonly config: ImageConfig;
}

/** What an image has that says nothing of how to start it. */
export const EMPTY_CONFIG: ImageConfig = {
  entrypoint: [],
  cmd: [],
  env: [],
  workingDir: "/",
  user: "",
  exposedPorts: [],
  stopSignal: "",
  labels: {},
};
