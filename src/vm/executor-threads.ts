/* The threads of executors. One can be started before it is known what it will run: its modules are loaded while the machine is made. @source docs/vcpus.md */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { ExecutorStart } from "./executor-protocol.ts";

// Code is made where a module is compiled: that of regions on the translator's thread, and not on an executor's at the first call.
setFlagsFromString("--no-wasm-lazy-compilation");

const spare: Worker[] = [];

function startThread(): Worker {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const worker = new Worker(new URL(`./executor${extension}`, import.meta.url), {
    // What an executor allocates is dead at once (bigints, faults): a small nursery holds it, and stays in the cache.
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
  worker.unref(); // until it runs
  return worker;
}
/** A VM will be started in this process, soon. */
export function prepareExecutor(): void {
  if (spare.length === 0) spare.push(startThread());
}
/** None will be, after all. */
export async function discardPrepared(): Promise<void> {
  await Promise.all(spare.splice(0).map((worker) => worker.terminate()));
}
/** A thread that becomes this executor. */
export function executorThread(start: ExecutorStart): Worker {
  const worker = spare.pop() ?? startThread();
  worker.postMessage(start, start.translator ? [start.translator.port] : []);
  return worker;
}
