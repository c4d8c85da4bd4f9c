/* The translator's thread: turns regions into compiled modules, several at a time, in the order in which executors ask. The same code is translated once, whoever asks:
 * answers are kept by content. Entry point of the worker; imported by nothing. */
import { createHash } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { parentPort, receiveMessageOnPort } from "node:worker_threads";
import {
  translateModule,
  type RegionRequest,
  type TranslatedModule,
  type TranslatedRegion,
} from "../engine/wasm/translator/module.ts";
import type { RegionCode } from "../engine/wasm/translator/region.ts";
import type { RegionOptions } from "../engine/wasm/translator/region-options.ts";
import { collectGarbage, trimHeap } from "./idle-collection.ts";
import { lowerTranslator } from "./thread-priority.ts";
import type { TranslatorClient } from "./translator-thread.ts";

lowerTranslator();
/** What remembering a region takes besides. */
const KEPT_ENTRY_BYTES = 512;
/** Regions that are put into one module: more would make the first of them wait. */
const MOST_IN_A_MODULE = 8;
/** Nothing was asked for so long: what translating has left is collected. */
const COLLECT_AFTER_MS = 2000;

/** What is full is emptied to this part. */
const REST = 0.75;

/** One region of an earlier answer. */
interface Kept {
  readonly made: TranslatedModule;
  readonly region: number;
  readonly bytes: number;
}
/** By content; those asked for last are last. */
const kept = new Map<string, Kept>();
/** Of their modules. */
let keptBytes = 0;
let mostKeptBytes = 0;
/** Options by their text: machines with the same ones share what is known of instructions. */
const knownOptions = new Map<string, RegionOptions>();

interface Client extends TranslatorClient {
  /** Its part of the content's key: what a translation depends on besides the code. */
  readonly machine: string;
}
function contentKey(machine: string, { seed, runs, bytes, sites, crossing = false }: RegionCode): string {
  const shape = `${machine} ${seed} ${crossing} ${runs.join()} ${JSON.stringify(sites)} `;
  return createHash("sha256").update(shape).update(bytes).digest("base64");
}
function keep(key: string, each: Kept): void {
  kept.set(key, each);
  keptBytes += each.bytes;
  if (keptBytes <= mostKeptBytes) return;
  for (const [oldest, { bytes }] of kept) {
    if (keptBytes <= REST * mostKeptBytes) break;
    kept.delete(oldest);
    keptBytes -= bytes;
  }
}
/** A known answer, and those it is one of the last asked for. */
function recall(key: string): Kept | undefined {
  const known = kept.get(key);
  if (known === undefined) return undefined;
  kept.delete(key);
  kept.set(key, known);
  return known;
}

/** V8 flag: so many first functions of a module are made by the optimizing compiler at once (a bit each). @source node --v8-options */
const optimizesFirst = (functions: number): string => `--wasm-tier-mask-for-testing=${2 ** functions - 1}`;

/** Baseline code is left out: with all that a region does at each visit it is no faster than the interpreter, but for loops, and those get their optimized code as soon.
 *  The flag is read once for each function, so that it may change at any time; what another thread compiles in this moment may be optimized, too, which takes longer and is as right. */
function compileOptimized(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  setFlagsFromString(optimizesFirst(MOST_IN_A_MODULE));
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    setFlagsFromString(optimizesFirst(0));
  }
}

function answer({ port, answers }: Client, made: TranslatedModule): void {
  port.postMessage(made);
  const count = new Int32Array(answers);
  Atomics.add(count, 0, 1);
  Atomics.notify(count, 0); // executors look when they may; others wait
}

/** All that was asked for and is not known yet, up to one module's worth. */
function translate(client: Client, requests: readonly RegionRequest[]): void {
  const fresh: { request: RegionRequest; key: string }[] = [];
  for (const request of requests) {
    const key = contentKey(client.machine, request.code);
    const known = recall(key);
    if (known) answer(client, only(known, request.id));
    else fresh.push({ request, key });
  }
  if (fresh.length === 0) return;
  const made = translateModule(
    fresh.map(({ request }) => request),
    client.options,
    client.ramPages,
    compileOptimized,
  );
  answer(client, made);
  const bytes = made.bytes / fresh.length + KEPT_ENTRY_BYTES;
  fresh.forEach(({ key }, region) => keep(key, { made, region, bytes }));
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

function serve(sent: TranslatorClient): void {
  const text = JSON.stringify(sent.options);
  const options = knownOptions.get(text) ?? sent.options;
  knownOptions.set(text, options);
  const client: Client = { ...sent, options, machine: `${text} ${sent.ramPages}` };
  mostKeptBytes = Math.max(mostKeptBytes, client.keptBytes);
  const { port } = client;
  const next = (): RegionRequest | undefined => receiveMessageOnPort(port)?.message as RegionRequest | undefined;
  port.on("message", (first: RegionRequest) => {
    const requests = [first];
    for (let more = next(); more !== undefined; more = next()) {
      requests.push(more);
      if (requests.length === MOST_IN_A_MODULE) break;
    }
    translate(client, requests);
    clearTimeout(idle);
    idle = setTimeout(giveBack, COLLECT_AFTER_MS).unref();
  });
}

parentPort!.on("message", serve);
