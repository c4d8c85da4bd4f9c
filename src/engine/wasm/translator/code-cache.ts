/* What the translated code of one executor costs in memory, and what has to go when that is too much. V8 frees a module's machine code as a whole, once nobody has any of its
 * functions; so modules are counted, each once, with their regions, and those whose regions were seen last longest ago go first. Knows neither what regions are nor threads.
 * @source docs/translator.md "Room" */

/** Memory that a module takes for each of its bytes: 1 for itself, 2 for machine code, the rest for what V8 keeps to find its way about in it; 4 were measured on regions of `gcc`, without instances. */
export const BYTES_PER_WASM_BYTE = 5;
/** … and for itself: its instance, and the rounding of its parts. */
export const BYTES_PER_MODULE = 16 * 1024;
/** What is full is emptied to this part, so that it is not full again at once. */
const REST = 0.75;

/** What an instance exports. */
export type ModuleExports = Readonly<Record<string, unknown>>;

interface Module<R> {
  readonly number: number;
  readonly exports: ModuleExports;
  readonly costBytes: number;
  readonly regions: Set<R>;
}

export class CodeCache<R> {
  readonly #limitBytes: number;
  /** By number; those seen last are last. */
  readonly #modules = new Map<number, Module<R>>();
  readonly #moduleOf = new Map<R, Module<R>>();
  #costBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }
  /** Estimated memory of all modules. */
  get costBytes(): number {
    return this.#costBytes;
  }
  /** Of a module that has regions here. */
  exportsOf(number: number): ModuleExports | undefined {
    return this.#modules.get(number)?.exports;
  }
  /** Notes a region that was installed. @param number the module's  @param bytes its size */
  add(region: R, number: number, bytes: number, exports: ModuleExports): void {
    let module = this.#modules.get(number);
    if (module === undefined) {
      module = { number, exports, costBytes: bytes * BYTES_PER_WASM_BYTE + BYTES_PER_MODULE, regions: new Set() };
      this.#modules.set(number, module);
      this.#costBytes += module.costBytes;
    }
    module.regions.add(region);
    this.#moduleOf.set(region, module);
  }
  /** It runs. */
  see(region: R): void {
    const module = this.#moduleOf.get(region);
    if (module === undefined) return;
    this.#modules.delete(module.number);
    this.#modules.set(module.number, module);
  }
  /** It was dropped. */
  remove(region: R): void {
    const module = this.#moduleOf.get(region);
    if (module === undefined) return;
    this.#moduleOf.delete(region);
    module.regions.delete(region);
    if (module.regions.size > 0) return;
    this.#modules.delete(module.number);
    this.#costBytes -= module.costBytes;
  }
  /** Regions to drop, if there is too much. */
  excess(): R[] {
    if (this.#costBytes <= this.#limitBytes) return [];
    const regions: R[] = [];
    let left = this.#costBytes;
    for (const module of this.#modules.values()) {
      if (left <= REST * this.#limitBytes) break;
      left -= module.costBytes;
      regions.push(...module.regions);
    }
    return regions;
  }
}
