/* The translator's thread, as machines and their executors see it: one worker for all machines of the process, so that VMs that run the same code share its translations; each
 * executor has a port to it. Requests are plain data; answers are compiled modules, which threads share. A counter in shared memory says when there is something to take, so that
 * looking costs an executor nothing. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { RegionRequest, TranslatedModule } from "../engine/wasm/translator/module.ts";
import type { RegionOptions } from "../engine/wasm/translator/region-options.ts";
import type { RegionTranslator } from "../engine/wasm/translator/regions.ts";

/** An executor's end. */
export interface TranslatorConnection {
  readonly port: MessagePort;
  /** i32: answers so far. */
  readonly answers: SharedArrayBuffer;
}
/** How a machine's code is translated. */
export interface TranslatorStart {
  readonly options: RegionOptions;
  readonly ramPages: number;
  /** Bytes of modules that may be kept for who asks next; the most that any machine allows. */
  readonly keptBytes: number;
}
/** The worker's end of a connection. */
export interface TranslatorClient extends TranslatorConnection, TranslatorStart {}

/** After the last machine's end the thread stays so long for the next one, which then finds the translations. */
const STAYS_MS = 10_000;

type OnError = (error: Error) => void;

export class TranslatorThread {
  static #current: TranslatorThread | undefined;
  readonly #worker: Worker;
  readonly #users = new Set<OnError>();
  #ending: NodeJS.Timeout | undefined;

  private constructor() {
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    this.#worker = new Worker(new URL(`./translator-worker${extension}`, import.meta.url));
    this.#worker.once("error", (error: Error) => {
      this.#forget();
      for (const tell of this.#users) tell(error);
    });
    this.#worker.unref();
  }
  #forget(): void {
    if (TranslatorThread.#current === this) TranslatorThread.#current = undefined;
  }

  /** The process's thread, which is there until release() at least.
   *  @param onError it has ended by a mistake of Mere's; names the user */
  static use(onError: OnError): TranslatorThread {
    const thread = (TranslatorThread.#current ??= new TranslatorThread());
    clearTimeout(thread.#ending);
    thread.#users.add(onError);
    return thread;
  }
  /** A connection to hand to an executor (its port has to be in the transfer list). */
  connect(start: TranslatorStart): TranslatorConnection {
    const { port1, port2 } = new MessageChannel();
    const answers = new SharedArrayBuffer(4);
    this.#worker.postMessage({ ...start, port: port2, answers } satisfies TranslatorClient, [port2]);
    return { port: port1, answers };
  }
  /** This user needs it no more. */
  release(onError: OnError): void {
    if (!this.#users.delete(onError) || this.#users.size > 0) return;
    this.#ending = setTimeout(() => {
      this.#forget();
      void this.#worker.terminate();
    }, STAYS_MS).unref();
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
