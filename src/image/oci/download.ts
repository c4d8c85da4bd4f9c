/* Blobs of a registry into files: two at a time, continued where they stopped, each kept only with the digest and length that were asked for.
 * A file "<hex>.part" is under way, also one of a process that was killed; "<hex>" is whole. The caller holds the directory's lock. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { ImageError } from "../image-error.ts";
import { type Answer, TransientError, Tries } from "./http.ts";
import type { Descriptor } from "./manifest.ts";
import { type RegistryClient, mismatch } from "./registry-client.ts";

/** More would only share the same line. */
const AT_A_TIME = 2;
/** A registry that sends less between two failures makes no progress worth counting. */
const PROGRESS_BYTES = 64 * 1024;

/** Downloads blobs into `directory`, those that are not there. @param onProgress bytes there, of all
 *  @returns paths in the order of the blobs @throws ImageError, the signal's reason, the system's errors */
export async function downloadBlobs(
  client: RegistryClient,
  blobs: readonly Descriptor[],
  directory: string,
  onProgress?: (done: number, total: number) => void,
): Promise<string[]> {
  const wanted = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
  const total = wanted.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const done = new Map<string, number>();
  const report = (digest: string, bytes: number): void => {
    done.set(digest, bytes);
    onProgress?.(
      [...done.values()].reduce((sum, part) => sum + part, 0),
      total,
    );
  };
  // The first that fails ends the others: nobody waits for what cannot become an image.
  const failed = new AbortController();
  const queue = wanted.values();
  const work = async (): Promise<void> => {
    for (const blob of queue) {
      if (failed.signal.aborted) return;
      try {
        await downloadBlob(client, blob, directory, failed.signal, (bytes) => report(blob.digest, bytes));
      } catch (error) {
        failed.abort();
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: AT_A_TIME }, work));
  for (const result of results)
    if (result.status === "rejected" && !(result.reason instanceof GaveUp)) throw result.reason;
  return blobs.map(({ digest }) => blobPath(directory, digest));
}

/** Ended because another blob could not be had. */
class GaveUp extends Error {}

function blobPath(directory: string, digest: string): string {
  return join(directory, digest.slice("sha256:".length));
}

async function downloadBlob(
  client: RegistryClient,
  blob: Descriptor,
  directory: string,
  gaveUp: AbortSignal,
  report: (bytes: number) => void,
): Promise<void> {
  const path = blobPath(directory, blob.digest);
  // It was checked before it got this name.
  if ((await sizeOf(path)) === blob.sizeBytes) return report(blob.sizeBytes);
  const file = await open(`${path}.part`, "a+");
  try {
    await fetchInto(file, client, blob, gaveUp, report);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
}

/** What a file holds so far. */
class PartialBlob {
  readonly #file: FileHandle;
  #hash: Hash = createHash("sha256");
  length = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Takes up what an earlier download left. */
  async resume(): Promise<void> {
    for await (const chunk of this.#file.createReadStream({ start: 0, autoClose: false })) {
      this.#hash.update(chunk as Buffer);
      this.length += (chunk as Buffer).length;
    }
  }

  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = createHash("sha256");
    this.length = 0;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#file.appendFile(chunk);
    this.#hash.update(chunk);
    this.length += chunk.length;
  }

  digest(): string {
    return `sha256:${this.#hash.copy().digest("hex")}`;
  }
}

async function fetchInto(
  file: FileHandle,
  client: RegistryClient,
  blob: Descriptor,
  gaveUp: AbortSignal,
  report: (bytes: number) => void,
): Promise<void> {
  const part = new PartialBlob(file);
  await part.resume();
  if (part.length > blob.sizeBytes) await part.restart();
  // What an earlier process left may be wrong; what arrives now from the first byte is what the registry has.
  let isWhollyNew = part.length === 0;
  const tries = new Tries(client.patience, client.signal);
  let farthest = part.length;
  for (;;) {
    if (part.length === blob.sizeBytes) {
      if (part.digest() === blob.digest) return;
      await part.restart();
      if (isWhollyNew) throw mismatch(client.host, `a layer of ${client.repository}`, blob.digest);
      isWhollyNew = true;
    }
    if (gaveUp.aborted) throw new GaveUp();
    try {
      const answer = await client.blob(blob.digest, part.length);
      if (answer.status !== 206) {
        // 200: the registry does not continue, and begins again. 416: it does not have as much as it should.
        if (part.length > 0) await part.restart();
        isWhollyNew = true;
      }
      if (answer.status === 416) answer.discard();
      else await receive(answer, part, blob, client, gaveUp, report);
    } catch (error) {
      // Beyond what there was before: a registry that begins again and again gets no further.
      if (part.length - farthest >= PROGRESS_BYTES) {
        farthest = part.length;
        tries.renew();
      }
      await tries.failed(error);
    }
  }
}

async function receive(
  answer: Answer,
  part: PartialBlob,
  blob: Descriptor,
  client: RegistryClient,
  gaveUp: AbortSignal,
  report: (bytes: number) => void,
): Promise<void> {
  if (answer.status === 206 && !answer.headers.get("content-range")?.startsWith(`bytes ${part.length}-`)) {
    answer.discard();
    await part.restart();
    throw new TransientError(
      new ImageError("registry", `${client.host} sent another part of a layer than was asked for; try again later.`),
    );
  }
  for await (const chunk of answer.chunks()) {
    if (gaveUp.aborted) throw new GaveUp();
    if (part.length + chunk.length > blob.sizeBytes) {
      await part.restart();
      throw new ImageError(
        "digest-mismatch",
        `${client.host} sent more than the ${blob.sizeBytes} bytes of ${blob.digest} of ${client.repository}; try again, or tell the registry's administrator.`,
      );
    }
    await part.append(chunk);
    report(part.length);
  }
  if (part.length < blob.sizeBytes)
    throw new TransientError(
      new ImageError(
        "network",
        `${client.host} ended ${blob.digest} of ${client.repository} after ${part.length} of ${blob.sizeBytes} bytes; check the network and try again: what has arrived is kept.`,
      ),
    );
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}
