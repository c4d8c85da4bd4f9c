/* For tests: a registry in this process that behaves as a test says, and images to put into it. */
import { createHash } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { runCommand } from "../command.ts";
import { TAR_END, fileEntry } from "../debian/tar-writer.ts";

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";

export function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A tar archive of files by name. */
export function tarOf(files: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat([...Object.entries(files).map(([name, text]) => fileEntry(name, text)), TAR_END]);
}

/** Bytes by their digest, and manifests by name. */
export interface Content {
  readonly blobs: Map<string, Buffer>;
  /** By tag and by digest. */
  readonly manifests: Map<string, { bytes: Buffer; mediaType: string }>;
}

export interface ImageParts {
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly layers: readonly Buffer[];
}

/** An image of uncompressed layers, compressed by `compress`. */
export function makeParts(
  tars: readonly Buffer[],
  options: { config?: object; top?: object; compress?: (tar: Buffer) => Buffer; layerType?: string } = {},
): ImageParts {
  const { compress = gzipSync, layerType = `${OCI_LAYER}+gzip` } = options;
  const layers = tars.map((tar) => Buffer.from(compress(tar)));
  const rootfs = { type: "layers", diff_ids: tars.map(digest) };
  const config = json({ architecture: "amd64", os: "linux", config: options.config ?? {}, rootfs, ...options.top });
  const manifest = json({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptor(config, OCI_CONFIG),
    layers: layers.map((layer) => descriptor(layer, layerType)),
  });
  return { manifest, config, layers };
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function descriptor(bytes: Buffer, mediaType: string): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: digest(bytes), size: bytes.length };
}

/** Registries answer this for every request that it does not itself answer. @returns true: answered */
export type Behaviour = (
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
) => boolean | Promise<boolean>;

/** A registry on a loopback address. */
export class TestRegistry implements AsyncDisposable {
  readonly content: Content = { blobs: new Map(), manifests: new Map() };
  /** "GET /v2/…" of all requests, in order, with " [range]" where one was asked for. */
  readonly requests: string[] = [];
  behave: Behaviour = () => false;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TestRegistry> {
    const server = createServer((request, response) => void registry.#answer(request, response));
    const registry = new TestRegistry(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Puts an image in under a tag. */
  put(parts: ImageParts, tag: string): void {
    for (const bytes of [parts.config, ...parts.layers]) this.content.blobs.set(digest(bytes), bytes);
    this.putManifest(parts.manifest, OCI_MANIFEST, tag);
  }

  putManifest(bytes: Buffer, mediaType: string, tag?: string): void {
    this.content.manifests.set(digest(bytes), { bytes, mediaType });
    if (tag !== undefined) this.content.manifests.set(tag, { bytes, mediaType });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(request.url ?? "").split("?")[0]!;
    const { range } = request.headers;
    const { method = "" } = request;
    this.requests.push(`${method} ${path}${range === undefined ? "" : ` [${range}]`}`);
    if (await this.behave(request, response, path)) return;
    const [, kind, reference] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(path) ?? [];
    const manifest = kind === "manifests" ? this.content.manifests.get(reference!) : undefined;
    const bytes = manifest?.bytes ?? (kind === "blobs" ? this.content.blobs.get(reference!) : undefined);
    if (bytes === undefined) return void response.writeHead(404).end("{}");
    response.setHeader("content-type", manifest?.mediaType ?? "application/octet-stream");
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (from > 0) {
      if (from >= bytes.length) return void response.writeHead(416).end();
      response.setHeader("content-range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    }
    response.writeHead(from > 0 ? 206 : 200).end(bytes.subarray(from));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A file of a root disk. Needs e2fsprogs. */
export async function readFromDisk(disk: string, path: string): Promise<string> {
  for (const program of ["debugfs", "/usr/sbin/debugfs"]) {
    const result = await runCommand(program, ["-R", `cat ${path}`, disk]).catch(() => undefined);
    if (result !== undefined) return result.stdout;
  }
  throw new Error("debugfs was not found; install e2fsprogs");
}
