/* One Debian package as bytes: its control files, and its files as entries of a tar archive. dpkg-deb takes the archive apart, so compression is its matter.
 * @source deb(5), deb-control(5), dpkg-deb(1) --ctrl-tarfile, --fsys-tarfile. Packages come from apt, which has checked signatures; they are read as if they had not been. */
import { spawn } from "node:child_process";
import { basename } from "node:path";
import { PackageError } from "../package-error.ts";
import { type TarEntry, TarReader } from "../root/tar-reader.ts";
import { TarError } from "../root/tar-error.ts";

/** The control archive. */
export interface ControlFiles {
  /** The package's name, and its architecture as dpkg's database needs it to tell libraries of several apart: "libc6:amd64", "bash". */
  readonly databaseName: string;
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The stanza, without an empty line at its end. */
  readonly control: string;
  /** "postinst", "md5sums", "triggers", …; not "control". */
  readonly files: ReadonlyMap<string, { readonly content: Buffer; readonly mode: number }>;
}

/** The largest control archives (of symbols) have some MiB. */
const LARGEST_CONTROL = 64 << 20;

/** Reads a package's control archive. @throws PackageError */
export async function readControl(deb: string, signal?: AbortSignal): Promise<ControlFiles> {
  const files = new Map<string, { content: Buffer; mode: number }>();
  let chunks: Buffer[] = [];
  let length = 0;
  let current: TarEntry | undefined;
  const finish = (): void => {
    const name = current?.path.replace(/^\.\//, "") ?? "";
    // Names as dpkg takes them: others would be paths.
    if (current?.type === "file" && /^[a-z0-9][a-z0-9.-]*$/.test(name))
      files.set(name, { content: Buffer.concat(chunks), mode: current.mode & 0o777 });
    chunks = [];
  };
  const reader = new TarReader({
    entry: (entry) => {
      finish();
      current = entry;
    },
    data: (bytes) => {
      length += bytes.length;
      if (length > LARGEST_CONTROL) throw unexpected(deb, "its control archive is larger than any package's");
      chunks.push(Buffer.from(bytes));
    },
  });
  for await (const chunk of dpkgDeb("--ctrl-tarfile", deb, signal)) readInto(reader, chunk, deb);
  finish();
  const control = files.get("control")?.content.toString().replace(/\n+$/, "") ?? "";
  files.delete("control");
  return { ...identify(control, deb), control, files };
}

function identify(
  control: string,
  deb: string,
): Pick<ControlFiles, "databaseName" | "name" | "version" | "architecture"> {
  const field = (name: string): string => new RegExp(`^${name}:[ \t]*(\\S+)[ \t]*$`, "im").exec(control)?.[1] ?? "";
  const [name, version, architecture] = [field("Package"), field("Version"), field("Architecture")];
  if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name) || version === "" || !/^[a-z0-9-]+$/.test(architecture))
    throw unexpected(deb, "its control file names no package");
  const isSame = /^Multi-Arch:[ \t]*same[ \t]*$/im.test(control);
  return { databaseName: isSame ? `${name}:${architecture}` : name, name, version, architecture };
}

/** Who looks at a package's files. Both are called while bytes are pushed; the data's bytes are the caller's until it returns. */
export interface FileSink {
  entry(entry: TarEntry): void;
  data(bytes: Uint8Array): void;
}

/** Reads a package's files through a sink; yields after each piece, so that what the sink made of it can be passed on. @throws PackageError */
export async function* readFiles(deb: string, sink: FileSink, signal?: AbortSignal): AsyncGenerator<void> {
  const reader = new TarReader(sink);
  for await (const chunk of dpkgDeb("--fsys-tarfile", deb, signal)) {
    readInto(reader, chunk, deb);
    yield;
  }
}

function readInto(reader: TarReader, chunk: Uint8Array, deb: string): void {
  try {
    reader.push(chunk);
  } catch (error) {
    if (error instanceof TarError) throw unexpected(deb, error.message, error);
    throw error;
  }
}

/** Standard output of dpkg-deb, which must end well. @param option "--fsys-tarfile", "--ctrl-tarfile" @throws PackageError */
export async function* dpkgDeb(option: string, deb: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const child = spawn("dpkg-deb", [option, deb], {
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal !== undefined && { signal }),
  });
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => (complaints = (complaints + chunk.toString()).slice(-4096)));
  const ended = new Promise<number | NodeJS.ErrnoException | null>((resolve) => {
    child.on("error", resolve);
    child.on("close", resolve);
  });
  let isRead = false;
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>;
    isRead = true;
  } finally {
    if (!isRead) child.kill();
  }
  const end = await ended;
  if (end === 0) return;
  signal?.throwIfAborted();
  if (end instanceof Error && end.code === "ENOENT")
    throw new PackageError(
      "apt-missing",
      "dpkg-deb was not found, which unpacks Debian's packages; install dpkg, or use an image of a registry.",
      { cause: end },
    );
  throw unexpected(deb, complaints.trim().split("\n").at(-1) ?? "dpkg-deb failed");
}

function unexpected(deb: string, why: string, cause?: Error): PackageError {
  return new PackageError(
    "unexpected-content",
    `The package ${basename(deb)} cannot be unpacked: ${why}; try again, or use an image of a registry.`,
    { cause },
  );
}
