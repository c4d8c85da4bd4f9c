/* A translator on the executor's own thread: what is asked for is ready at once. For tests, and where there are no threads. */
import { translateModule, type RegionRequest, type TranslatedModule } from "./module.ts";
import type { RegionOptions } from "./region-options.ts";
import type { RegionTranslator } from "./regions.ts";

export class TranslatesAtOnce implements RegionTranslator {
  readonly #options: RegionOptions;
  readonly #ramPages: number;
  #ready: TranslatedModule[] = [];

  constructor(options: RegionOptions, ramPages: number) {
    this.#options = options;
    this.#ramPages = ramPages;
  }
  request(request: RegionRequest): void {
    this.#ready.push(translateModule([request], this.#options, this.#ramPages));
  }
  take(): TranslatedModule[] {
    if (this.#ready.length === 0) return this.#ready;
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
}
