/* The executors of one machine as the main thread sees them: worker threads, started together, stopped together. @source docs/vcpus.md */
import type { Worker } from "node:worker_threads";
import { Attention } from "../engine/engine.ts";
import type { Wakeups } from "../engine/wakeups.ts";
import { BYTES_PER_WASM_BYTE } from "../engine/wasm/translator/code-cache.ts";
import { executorThread } from "./executor-threads.ts";
import { Control, type ExecutorMessage, type ExecutorStart, type VcpuState } from "./executor-protocol.ts";
import { lowerCompilers } from "./thread-priority.ts";
import { TranslatorThread } from "./translator-thread.ts";

/** Part of the memory for translated code that is the translator's: for code that an executor has dropped, or another one wants too. */
const KEPT_PART = 0.125;

/** How they came to their end: a vCPU shut down, or they were asked to. */
export interface ExecutorsEnd {
  readonly shutdown: boolean;
  /** By vCPU number; empty if nobody wanted to know. */
  readonly states: readonly VcpuState[];
}

export class Executors {
  readonly #workers: readonly Worker[];
  readonly #translator: TranslatorThread | undefined;
  readonly #onError = (error: Error): void => this.#fail(error);
  readonly #control: Int32Array;
  readonly #wakeups: Wakeups;
  readonly #end = Promise.withResolvers<ExecutorsEnd>();
  readonly #states: VcpuState[] = [];
  #stopped = 0;
  #shutdown = false;

  /** Their threads make their engines while this one goes on, and then wait for start().
   *  @param start what each is told besides; its control word is NOT_YET */
  constructor(count: number, start: Omit<ExecutorStart, "executor" | "translator">, wakeups: Wakeups) {
    const { codeCacheBytes } = start.limits;
    this.#translator = start.nativeCode ? undefined : TranslatorThread.use(this.#onError);
    const translation = {
      options: start.region,
      ramPages: start.ram.frames.frames / 16,
      keptBytes: (KEPT_PART * codeCacheBytes) / BYTES_PER_WASM_BYTE,
    };
    const kept = start.nativeCode ? 0 : KEPT_PART;
    const limits = { ...start.limits, codeCacheBytes: ((1 - kept) * codeCacheBytes) / count };
    lowerCompilers();
    this.#control = new Int32Array(start.control);
    this.#wakeups = wakeups;
    this.#workers = Array.from({ length: count }, (_, executor) =>
      this.#start({ ...start, limits, executor, translator: this.#translator?.connect(translation) }),
    );
    this.#end.promise.catch(() => undefined); // whoever waits hears of it
  }

  #start(start: ExecutorStart): Worker {
    const worker = executorThread(start);
    worker.once("message", (message: ExecutorMessage) => this.#hear(message));
    worker.once("error", (error: Error) => this.#fail(error));
    return worker;
  }

  /** Lets the vCPUs run. */
  start(): void {
    for (const worker of this.#workers) worker.ref();
    Atomics.compareExchange(this.#control, 0, Control.NOT_YET, Control.RUN);
    Atomics.notify(this.#control, 0);
  }
  /** Asks all to come to an end, also those that never ran. @param tell with their vCPUs' states */
  stop(tell: boolean): void {
    for (const worker of this.#workers) worker.ref();
    Atomics.store(this.#control, 0, tell ? Control.STOP_AND_TELL : Control.STOP);
    Atomics.notify(this.#control, 0);
    this.#wakeups.wakeAll(Attention.COME_OUT);
  }
  /** Resolves when none runs any more; rejects for a defect of Mere's. */
  get end(): Promise<ExecutorsEnd> {
    return this.#end.promise;
  }
  /** Ends threads that never ran. They come to their own end first: one that is ended while it starts can keep the process from ending (Node 26). */
  async abandon(): Promise<void> {
    this.stop(false);
    await this.#end.promise.catch(() => undefined);
    await this.terminate();
  }
  /** Ends the threads, wherever they are. */
  async terminate(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    this.#translator?.release(this.#onError);
  }

  #fail({ message, stack }: Error): void {
    this.#hear({ kind: "failed", message, detail: stack ?? "" });
  }
  #hear(message: ExecutorMessage): void {
    if (message.kind === "failed") {
      const text = `Mere itself failed, which is a defect: ${message.message}\n${message.detail}`;
      return this.#end.reject(new Error(text));
    }
    this.#states.push(...message.states);
    if (message.kind === "shutdown") {
      if (!this.#shutdown) this.stop(true);
      this.#shutdown = true;
    }
    if (++this.#stopped < this.#workers.length) return;
    this.#end.resolve({ shutdown: this.#shutdown, states: this.#states.toSorted((a, b) => a.vcpu - b.vcpu) });
  }
}
