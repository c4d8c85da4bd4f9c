/* Regions: the translated code of one executor: finds what is hot, says which code belongs together, installs what the translator made of it, and drops what
 * changes. Called between slices, on the executor's thread.
 *
 * Hot is what is seen: each slice of fuel ends somewhere, more often the more time is spent there, and a place that was seen a few times is the seed of a region.
 * The region is all code that was run before (so is in the block cache) and is reached from the seed by jumps and calls, up to a bound.
 *
 * A region takes a block's place by its first entry: that gets the region's number as handler, and the label in it. Whatever finds the block (jump cache, chains)
 * thus finds the region. @source docs/translator.md */
import type { GuestRam } from "../../../memory/guest-ram.ts";
import { BlockEnd } from "../block-end.ts";
import type { BlockCache } from "../blocks.ts";
import { jumpTargets } from "../jump-targets.ts";
import { Engine, Entry, MAX_REGIONS, REGION_HANDLERS, REGION_RECORD_BYTES, regionRecordsOf } from "../layout.ts";
import type { HotCode } from "../hot-code.ts";
import type { WasmVcpu } from "../vcpu.ts";
import type { RegionLimits } from "./region-options.ts";
import { CodeCache, type ModuleExports } from "./code-cache.ts";
import type { RegionRequest, TranslatedModule } from "./module.ts";
import type { JumpSite, RegionCode } from "./region.ts";
import { LikelyWays, takenShare } from "./likely-ways.ts";
import { RegionEntry, RegionRecord } from "./region-entry.ts";

const PAGE = 4096;
const TWO_20 = 2 ** 20;

/** Regions whose stretches of the stack crossed a page this often are translated without them. */
const MOST_CROSSINGS = 32;
/** A page whose code changed this often is left to the interpreter, until what was seen is forgotten. */
const MOST_DROPS = 16;

/** A region that was left so often for code that could have been a part of it is made anew and larger; the next time it takes four times as many. */
const HOT_EXITS = 10_000;
const MOST_GENERATIONS = 2;
/** A region that is made anew has room for so many times the instructions. */
const GROWTH = 4;

/** A region that was entered so often under another mapping gives its place to one for that. */
const MOST_DECLINED = 1000;

/** Where regions are translated: elsewhere, or at once. */
export interface RegionTranslator {
  request(request: RegionRequest): void;
  /** What is ready. */
  take(): TranslatedModule[];
}

interface Region {
  /** 0: not installed. */
  handler: number;
  alive: boolean;
  crossings: number;
  readonly seed: number;
  /** Frame addresses by page number relative to the base page. */
  readonly pages: ReadonlyMap<number, number>;
  readonly runs: readonly { frame: number; from: number; to: number }[];
  /** Frame addresses of entries that it has. */
  readonly places: number[];
  /** How often it was made before. */
  readonly generation: number;
  /** The one whose place it takes when it is there. */
  replaced: Region | undefined;
  /** How often it could not run, because its pages were mapped in another way. */
  declined: number;
  /** It is being made anew. */
  successor?: boolean;
}
interface Place {
  readonly region: Region;
  readonly label: number;
  readonly page: number;
  /** The block's first entry, and what it held. */
  entry: number;
  saved: Int32Array;
}

export class Regions implements HotCode {
  readonly #blocks: BlockCache;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #ram: GuestRam;
  readonly #table: WebAssembly.Table;
  readonly #resolve: (name: string) => unknown;
  readonly #memories: Record<string, unknown>;
  readonly #translator: RegionTranslator;
  readonly #limits: RegionLimits;
  readonly #records: number;
  readonly #seen = new Map<number, number>();
  readonly #places = new Map<number, Place>();
  readonly #byFrame = new Map<number, Set<Region>>();
  readonly #byHandler = new Map<number, Region>();
  readonly #drops = new Map<number, number>();
  readonly #pending = new Map<number, Region>();
  readonly #refused = new Set<number>();
  /** Seeds of regions that crossed pages too often. */
  readonly #crossing = new Set<number>();
  /** To be dropped between slices: they run, up to their prologue. */
  readonly #declined = new Set<Region>();
  readonly #freeHandlers: number[] = [];
  readonly #code: CodeCache<Region>;
  #nextHandler = REGION_HANDLERS;
  #nextId = 1;
  #looks = 0;
  /** What was installed so far; dropped for whatever reason, and of these for want of room. */
  readonly counts = { regions: 0, instructions: 0, bytes: 0, dropped: 0, evicted: 0, declined: 0, kept: 0 };

  constructor(
    blocks: BlockCache,
    state: WebAssembly.Memory,
    ram: GuestRam,
    table: WebAssembly.Table,
    resolve: (name: string) => unknown,
    translator: RegionTranslator,
    limits: RegionLimits,
    executor: number,
  ) {
    this.#records = regionRecordsOf(executor);
    this.#blocks = blocks;
    this.#words = new Int32Array(state.buffer);
    this.#halves = new Uint16Array(state.buffer);
    this.#ram = ram;
    this.#table = table;
    this.#resolve = resolve;
    this.#memories = { state, ram: ram.pool.shared.memory };
    this.#translator = translator;
    this.#limits = limits;
    this.#code = new CodeCache(limits.codeCacheBytes);
    blocks.onBlock = (address, entry) => this.#blockAdded(address, entry);
    blocks.onChange = (frame, from, to) => this.#changed(frame, from, to);
    blocks.onClear = () => this.#blocksGone();
  }

  /** Is code translated before it runs for the first time? */
  get translatesAll(): boolean {
    return this.#limits.threshold === 0;
  }
  readonly wantsSamples = true;
  idle(): void {}
  select(): void {}
  dispose(): void {}
  isRegion(entry: number): boolean {
    return this.#halves[entry >> 1] >= REGION_HANDLERS;
  }
  /** The interpreter's block for the beginning of a region, which the region's side exits find by it. @param address in the frames memory */
  notePlain(address: number, entry: number): void {
    const place = this.#places.get(address);
    if (place !== undefined && place.entry !== 0) this.#words[(place.entry + RegionEntry.PLAIN) >> 2] = entry;
  }
  /** For tools: the region that is entered at an address in the frames memory: its runs of code, and where else it is entered. */
  at(address: number): Pick<Region, "runs" | "places" | "seed"> | undefined {
    return this.#places.get(address)?.region;
  }

  // ——— what is hot ———
  /** A slice ended at this address, or regions were left for it often. @param address in the frames memory  @param weight as so many slices
   *  @returns is there nothing to find here: it is translated, or never will be? */
  see(vcpu: WasmVcpu, address: number, weight = 1): boolean {
    if (this.#limits.threshold === Infinity) return true;
    if (++this.#looks % this.#limits.memory === 0) this.#forget();
    const place = this.#places.get(address);
    if (place) this.#code.see(place.region);
    if (place || this.#changesOften(Math.floor(address / PAGE))) return true;
    if (this.#refused.has(address)) return false;
    const times = (this.#seen.get(address) ?? 0) + weight;
    if (times < this.#limits.threshold) this.#seen.set(address, times);
    else if (this.#pending.size < this.#limits.pending) {
      this.#seen.delete(address);
      this.#request(vcpu, vcpu.ripPage(), address);
    }
    return false;
  }
  /** A region is left so often for code that was not known when it was made, or was not part of it, that it is made anew; a few times.
   *  @param entry at which it was entered; PAGE_VA is its page */
  outgrown(vcpu: WasmVcpu, entry: number): void {
    const region = this.#byHandler.get(this.#halves[entry >> 1]);
    if (region === undefined || region.successor || region.generation === MOST_GENERATIONS) return;
    if (this.#pending.size >= this.#limits.pending) return;
    const page = vcpu.pageVa() + this.#words[(entry + RegionEntry.BASE) >> 2] / PAGE;
    region.successor = this.#request(vcpu, page, region.seed, region);
  }
  #forget(): void {
    this.#seen.clear();
    this.#drops.clear();
    this.#refused.clear();
    this.#crossing.clear();
    for (const { seed } of this.#pending.values()) this.#refused.add(seed);
  }
  /** @param page linear page of the seed  @returns false if there is nothing to ask for */
  #request(vcpu: WasmVcpu, page: number, address: number, replaced?: Region): boolean {
    const { region, code } = this.#form(vcpu, page, address, replaced);
    if (code.runs.length === 0) return false;
    this.#refused.add(address); // until it is there
    const id = this.#nextId++;
    this.#pending.set(id, region);
    for (const { frame } of region.runs) {
      const list = this.#byFrame.get(frame);
      if (list) list.add(region);
      else this.#byFrame.set(frame, new Set([region]));
    }
    this.#translator.request({ id, code });
    return true;
  }
  /** The code around a seed, the likely ways first. @param page linear page of the seed */
  #form(
    vcpu: WasmVcpu,
    page: number,
    address: number,
    replaced: Region | undefined,
  ): { region: Region; code: RegionCode } {
    const seed = address % PAGE;
    const pages = new Map([[0, address - seed]]);
    const runs: number[] = [];
    /** By the offset behind an indirect jump: decoded entries of it. */
    const jumps = new Map<number, number[]>();
    const ranges: Region["runs"][number][] = [];
    const ways = new LikelyWays(seed);
    const generation = replaced === undefined ? 0 : replaced.generation + 1;
    const room = this.#limits.instructions * GROWTH ** generation;
    let instructions = 0;
    for (let way = ways.next(); way !== undefined && instructions < room; way = ways.next()) {
      const { offset, weight } = way;
      const at = Math.floor(offset / PAGE);
      const frame = this.#frameOf(vcpu, pages, page, at);
      const block = frame < 0 ? undefined : this.#blocks.blockAt(frame + offset - at * PAGE);
      if (block === undefined) continue;
      instructions += block.entries;
      runs.push(offset, block.to - block.from);
      ranges.push({ frame: frame / PAGE, from: block.from, to: block.to });
      const next = at * PAGE + block.to;
      const last = block.entry + (block.entries - 1) * Entry.BYTES;
      const taken = block.end === BlockEnd.BRANCH ? takenShare(this.#halves[(last + Entry.HISTORY) >> 1]) : 1;
      if (block.end === BlockEnd.BRANCH) ways.add(next, weight * (1 - taken));
      if (block.end === BlockEnd.CALL || block.end === BlockEnd.INDIRECT_CALL) ways.add(next, weight);
      if (block.end < BlockEnd.INDIRECT_CALL) ways.add(at * PAGE + block.target, weight * taken);
      if (block.end !== BlockEnd.INDIRECT_CALL && block.end !== BlockEnd.INDIRECT_JUMP) continue;
      const entries = [...(jumps.get(next) ?? []), last];
      jumps.set(next, entries);
      for (const { target, share } of jumpTargets(this.#words, entries).targets)
        ways.add(at * PAGE + target, weight * share);
    }
    const bytes = this.#bytesOf(ranges);
    const region = {
      handler: 0,
      alive: true,
      crossings: 0,
      seed: address,
      pages,
      runs: ranges,
      places: [],
      generation,
      replaced,
      declined: 0,
    };
    return {
      region,
      code: {
        seed,
        runs: Int32Array.from(runs),
        bytes,
        sites: this.#sitesOf(jumps),
        crossing: this.#crossing.has(address),
      },
    };
  }
  /** One run after the other. */
  #bytesOf(runs: Region["runs"]): Uint8Array {
    const bytes = new Uint8Array(runs.reduce((size, { from, to }) => size + to - from, 0));
    let at = 0;
    for (const { frame, from, to } of runs) {
      bytes.set(this.#ram.pool.bytes.subarray(frame * PAGE + from, frame * PAGE + to), at);
      at += to - from;
    }
    return bytes;
  }
  /** @param jumps by the offset behind an indirect jump: decoded entries of it */
  #sitesOf(jumps: ReadonlyMap<number, readonly number[]>): JumpSite[] {
    return [...jumps].map(([end, entries]) => {
      const { targets, more } = jumpTargets(this.#words, entries);
      const page = Math.floor((end - 1) / PAGE) * PAGE;
      return { end, targets: targets.map(({ target }) => page + target), more };
    });
  }
  /** Frame address of a page of a region; −1 if it has none, or may not have more pages. */
  #frameOf(vcpu: WasmVcpu, pages: Map<number, number>, base: number, at: number): number {
    const known = pages.get(at);
    if (known !== undefined) return known;
    if (pages.size >= this.#limits.pages) return -1;
    const frame = vcpu.codeFrame(base + at);
    if (frame < 0 || this.#changesOften(frame / PAGE)) return -1;
    pages.set(at, frame);
    return frame;
  }

  #changesOften(frame: number): boolean {
    return (this.#drops.get(frame) ?? 0) >= MOST_DROPS;
  }

  // ——— what is ready ———
  /** Installs what the translator has finished. */
  install(): void {
    for (const region of this.#declined) if (region.alive) this.#dropDeclined(region);
    this.#declined.clear();
    for (const made of this.#translator.take()) {
      this.#installModule(made);
      for (const region of this.#code.excess()) {
        this.counts.evicted++;
        this.#drop(region);
      }
    }
  }
  #instantiate({ module, imports }: TranslatedModule): ModuleExports | undefined {
    if (module === undefined) return undefined;
    const host = Object.fromEntries(imports.map((name) => [name, this.#resolve(name)]));
    return new WebAssembly.Instance(module, { host, mere: this.#memories }).exports;
  }
  #installModule(made: TranslatedModule): void {
    const { regions, number, bytes } = made;
    const alive = regions.some(({ id, entries }) => entries.length > 0 && this.#pending.get(id)?.alive === true);
    const known = this.#code.exportsOf(number);
    const exports = known ?? (alive ? this.#instantiate(made) : undefined);
    if (known === undefined) this.counts.bytes += bytes;
    regions.forEach(({ id, entries, instructions }, i) => {
      const region = this.#pending.get(id);
      if (region === undefined) return; // another's
      this.#pending.delete(id);
      if (entries.length === 0 || !region.alive || exports === undefined)
        return this.#discard(region, entries.length > 0);
      const handler = this.#freeHandlers.pop() ?? this.#nextHandler++;
      if (handler >= REGION_HANDLERS + MAX_REGIONS) return this.#discard(region, true);
      if (region.replaced?.alive === true) this.#drop(region.replaced);
      region.replaced = undefined;
      this.#table.set(handler, exports[`r${i}`]);
      this.#code.add(region, number, bytes, exports);
      this.#place(region, handler, entries);
      this.counts.regions++;
      this.counts.instructions += instructions;
    });
  }
  /** For tests: a region of this one instruction. @returns its entry, 0 if the translator leaves it to the interpreter */
  single(bytes: Uint8Array, offset: number): number {
    if (!this.translatesAll) return 0;
    const code = { seed: offset, runs: Int32Array.of(offset, bytes.length), bytes, sites: [] };
    this.#translator.request({ id: 0, code });
    const exports = this.#instantiate(this.#translator.take()[0]);
    if (exports === undefined) return 0;
    this.#table.set(REGION_HANDLERS + MAX_REGIONS - 1, exports["r0"]);
    return this.#blocks.singleRegion(REGION_HANDLERS + MAX_REGIONS - 1, offset, bytes.length);
  }
  #discard(region: Region, again: boolean): void {
    region.alive = false;
    this.#unlist(region);
    if (again) this.#refused.delete(region.seed);
  }
  #place(region: Region, handler: number, entries: readonly number[]): void {
    region.handler = handler;
    this.#byHandler.set(handler, region);
    this.#refused.delete(region.seed);
    const record = this.#record(handler) >> 2;
    this.#words[record] = -1;
    this.#words[record + RegionRecord.EXITS / 4] = -HOT_EXITS * 4 ** region.generation;
    entries.forEach((offset, label) => {
      const page = Math.floor(offset / PAGE);
      const address = region.pages.get(page)! + offset - page * PAGE;
      if (this.#places.has(address)) return;
      const place: Place = { region, label, page, entry: 0, saved: new Int32Array(Entry.BYTES / 4) };
      this.#places.set(address, place);
      region.places.push(address);
      const block = this.#blocks.blockAt(address);
      if (block) this.#enterAt(place, block.entry);
    });
  }
  #record(handler: number): number {
    return this.#records + (handler - REGION_HANDLERS) * REGION_RECORD_BYTES;
  }
  #enterAt(place: Place, entry: number): void {
    const word = entry >> 2;
    place.entry = entry;
    place.saved.set(this.#words.subarray(word, word + Entry.BYTES / 4));
    this.#halves[entry >> 1] = place.region.handler;
    this.#words[(entry + RegionEntry.BASE) >> 2] = -place.page * PAGE;
    this.#words[(entry + RegionEntry.LABEL) >> 2] = place.label;
    this.#words[(entry + RegionEntry.RECORD) >> 2] = this.#record(place.region.handler);
    this.#words[(entry + RegionEntry.PLAIN) >> 2] = 0;
  }
  #blockAdded(address: number, entry: number): void {
    const place = this.#places.get(address);
    if (place && place.entry === 0) this.#enterAt(place, entry);
  }
  /** All blocks went, and nobody watches their pages any more. */
  #blocksGone(): void {
    for (const place of this.#places.values()) place.entry = 0;
    for (const region of [...this.#byHandler.values(), ...this.#pending.values()]) this.#drop(region);
    this.#forget();
  }

  // ——— what is no longer so ———
  #changed(frame: number, from: number, to: number): void {
    const hit = [...(this.#byFrame.get(frame) ?? [])].filter(({ runs }) =>
      runs.some((run) => run.frame === frame && run.from < to && run.to > from),
    );
    if (hit.length === 0) return;
    this.#drops.set(frame, (this.#drops.get(frame) ?? 0) + 1);
    for (const region of hit) this.#drop(region);
  }
  #drop(region: Region): void {
    region.alive = false;
    this.#unlist(region);
    if (region.handler === 0) return; // still being translated
    this.counts.dropped++;
    this.#code.remove(region);
    for (const address of region.places) {
      const place = this.#places.get(address)!;
      this.#places.delete(address);
      if (place.entry !== 0 && this.#halves[place.entry >> 1] === region.handler)
        this.#words.set(place.saved, place.entry >> 2);
    }
    this.#byHandler.delete(region.handler);
    this.#table.set(region.handler, null);
    this.#freeHandlers.push(region.handler);
  }
  /** A region has left: perhaps because a stretch of its stack is not in one page that it may write. @param vcpu address of its register file */
  noteCrossing(vcpu: number): void {
    const word = (vcpu + Engine.CROSSING) >> 2;
    const entry = this.#words[word];
    if (entry === 0) return;
    this.#words[word] = 0;
    const region = this.#byHandler.get(this.#halves[entry >> 1]);
    if (region === undefined || ++region.crossings < MOST_CROSSINGS) return;
    this.#crossing.add(region.seed);
    this.#drop(region);
  }
  /** Whoever runs the code now has it mapped in another way: a region for them may take its place, but not again and again. */
  #dropDeclined(region: Region): void {
    const frame = Math.floor(region.seed / PAGE);
    this.#drops.set(frame, (this.#drops.get(frame) ?? 0) + 1);
    this.#drop(region);
  }
  #unlist(region: Region): void {
    for (const { frame } of region.runs) this.#byFrame.get(frame)?.delete(region);
  }

  /** Are the region's pages mapped as it was translated? @returns 0 if so, and notes it in its record */
  validate(vcpu: WasmVcpu, entry: number): number {
    const handler = this.#halves[entry >> 1];
    const region = this.#byHandler.get(handler)!;
    if (region.declined === MOST_DECLINED) this.#declined.add(region);
    const base = vcpu.pageVa() + this.#words[(entry + RegionEntry.BASE) >> 2] / PAGE;
    for (const [at, frame] of region.pages) {
      if (vcpu.codeFrame(base + at) === frame) continue;
      this.counts.declined++;
      region.declined++;
      return 1;
    }
    const record = this.#record(handler) >> 2;
    this.#words[record + RegionRecord.TAG / 4] = vcpu.mmu.codeTag();
    this.#words[record + RegionRecord.BASE / 4] = ((base % TWO_20) << 12) | 0;
    this.#words[record + RegionRecord.BASE / 4 + 1] = Math.floor(base / TWO_20) | 0;
    return 0;
  }
}
