/* The translator's thread: turns regions into compiled modules, several at a time, in the order in which executors ask. The same code is translated once, whoever asks:
 * answers are kept by content. Entry point of the worker; imported by nothing. */
import { createHash } from "node:crypto";
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  translateModule,
  type RegionRequest,
  type TranslatedModule,
  type TranslatedRegion,
} from "../engine/wasm/translator/module.ts";
import type { RegionCode } from "../engine/wasm/translator/region.ts";
import { collectGarbage, trimHeap } from "./idle-collection.ts";
import { lowerThisThread } from "./thread-priority.ts";
import type { TranslatorConnection, TranslatorStart } from "./translator-thread.ts";

lowerThisThread();
const { options, ramPages, keptBytes: mostKeptBytes } = workerData as TranslatorStart;
/** What remembering a region takes besides. */
const KEPT_ENTRY_BYTES = 512;
/** Regions that are put into one module: more would make the first of them wait. */
const MOST_IN_A_MODULE = 8;
/** Nothing was asked for so long: what translating has left is collected. */
const COLLECT_AFTER_MS = 2000;

/** One region of an earlier answer. */
interface Kept {
  readonly made: TranslatedModule;
  readonly region: number;
}
const kept = new Map<string, Kept>();
/** Of their modules. */
let keptBytes = 0;

function contentKey({ seed, runs, bytes, crossing = false }: RegionCode): string {
  return createHash("sha1").update(`${seed} ${crossing} ${runs.join()} `).update(bytes).digest("base64");
}

function answer({ port, answers }: TranslatorConnection, made: TranslatedModule): void {
  port.postMessage(made);
  Atomics.add(new Int32Array(answers), 0, 1);
}

/** All that was asked for and is not known yet, up to one module's worth. */
function translate(connection: TranslatorConnection, requests: readonly RegionRequest[]): void {
  const fresh: { request: RegionRequest; key: string }[] = [];
  for (const request of requests) {
    const key = contentKey(request.code);
    const known = kept.get(key);
    if (known) answer(connection, only(known, request.id));
    else fresh.push({ request, key });
  }
  if (fresh.length === 0) return;
  const made = translateModule(
    fresh.map(({ request }) => request),
    options,
    ramPages,
  );
  answer(connection, made);
  fresh.forEach(({ key }, region) => kept.set(key, { made, region }));
  keptBytes += made.bytes + fresh.length * KEPT_ENTRY_BYTES;
  if (keptBytes <= mostKeptBytes) return;
  kept.clear();
  keptBytes = 0;
}
/** A kept region as an answer of its own: the others of its module are nobody's. */
function only({ made, region }: Kept, id: number): TranslatedModule {
  const none: TranslatedRegion = { id: 0, entries: [], instructions: 0 };
  return { ...made, regions: made.regions.map((r, i) => (i === region ? { ...r, id } : none)) };
}

let idle: NodeJS.Timeout | undefined;

function giveBack(): void {
  collectGarbage();
  trimHeap();
}

function serve(connection: TranslatorConnection): void {
  const { port } = connection;
  const next = (): RegionRequest | undefined => receiveMessageOnPort(port)?.message as RegionRequest | undefined;
  port.on("message", (first: RegionRequest) => {
    const requests = [first];
    for (let more = next(); more !== undefined; more = next()) {
      requests.push(more);
      if (requests.length === MOST_IN_A_MODULE) break;
    }
    translate(connection, requests);
    clearTimeout(idle);
    idle = setTimeout(giveBack, COLLECT_AFTER_MS).unref();
  });
}

parentPort!.on("message", (connection: TranslatorConnection & { port: MessagePort }) => serve(connection));
