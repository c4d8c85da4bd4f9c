/* The translator's thread, as the machine and its executors see it: one worker for all executors of a machine; each has a port to it. Requests are plain data; answers
 * are compiled modules, which threads share. A counter in shared memory says when there is something to take, so that looking costs an executor nothing. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { RegionRequest, TranslatedModule } from "../engine/wasm/translator/module.ts";
import type { RegionOptions } from "../engine/wasm/translator/region-state.ts";
import type { RegionTranslator } from "../engine/wasm/translator/regions.ts";

/** An executor's end. */
export interface TranslatorConnection {
  readonly port: MessagePort;
  /** i32: answers so far. */
  readonly answers: SharedArrayBuffer;
}
/** What the worker is told: of all executors at its start, and of each when it connects. */
export interface TranslatorStart {
  readonly options: RegionOptions;
  readonly ramPages: number;
  /** Bytes of modules that it keeps for who asks next. */
  readonly keptBytes: number;
}

export class TranslatorThread {
  readonly #worker: Worker;

  /** @param onError the thread has ended by a mistake of Mere's */
  constructor(start: TranslatorStart, onError: (error: Error) => void) {
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    this.#worker = new Worker(new URL(`./translator-worker${extension}`, import.meta.url), { workerData: start });
    this.#worker.once("error", onError);
    this.#worker.unref();
  }
  /** A connection to hand to an executor (its port has to be in the transfer list). */
  connect(): TranslatorConnection {
    const { port1, port2 } = new MessageChannel();
    const answers = new SharedArrayBuffer(4);
    this.#worker.postMessage({ port: port2, answers } satisfies TranslatorConnection, [port2]);
    return { port: port1, answers };
  }
  async terminate(): Promise<void> {
    this.#worker.ref(); // the process must not end in the middle of it
    await this.#worker.terminate();
  }
}

/** The executor's side of a connection. */
export class ConnectedTranslator implements RegionTranslator {
  readonly #port: MessagePort;
  readonly #answers: Int32Array;
  #taken = 0;

  constructor({ port, answers }: TranslatorConnection) {
    this.#port = port;
    this.#answers = new Int32Array(answers);
  }
  request(request: RegionRequest): void {
    this.#port.postMessage(request);
  }
  take(): TranslatedModule[] {
    const modules: TranslatedModule[] = [];
    while (this.#taken !== Atomics.load(this.#answers, 0)) {
      const message = receiveMessageOnPort(this.#port);
      if (message === undefined) break;
      this.#taken++;
      modules.push(message.message as TranslatedModule);
    }
    return modules;
  }
}
