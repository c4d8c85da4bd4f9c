/* Native code of one executor: which blocks have it, and what becomes of it when the guest's code changes. Called on the executor's thread, never while native code runs.
 *
 * Blocks are compiled when they are met. One entry in the arena stands for such a block, with REGION_HANDLERS as handler, and where the code is.
 * Jumps inside a page go from code to code; all others look the place up as the interpreter does. A block whose code has changed begins with a look-up.
 * When there is no room, everything goes. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import type { Block, BlockCompiler, Compiled } from "../wasm/block.ts";
import { BlockKind } from "../wasm/block-records.ts";
import type { BlockCache } from "../wasm/blocks.ts";
import type { HotCode, HotCodeCounts } from "../wasm/hot-code.ts";
import { Engine, REGION_HANDLERS } from "../wasm/layout.ts";
import { RegionEntry } from "../wasm/translator/region-entry.ts";
import { Assembler } from "./assembler.ts";
import { BlockTranslator, MOST_INSTRUCTIONS, newWritten, Pages, type Written } from "./block-translator.ts";
import { entryModule } from "./entry-function.ts";
import { JumpList, WaitingJumps } from "./jumps.ts";
import { KeptCode, type KeptFiles } from "./kept-code.ts";
import { Context, Native } from "./layout.ts";
import { type HostAddresses, writeRoutines } from "./routines.ts";

const PAGE = 4096;
/** So often a block may be left because its accesses lie in two pages, before it has code for that. */
const MOST_CROSSINGS = 4;
/** Room for the longest block. */
const MOST_BLOCK_BYTES = 64 * 1024;
const MAX_INSTRUCTION = 15;
/** Words of the jumps of a block that ends in a conditional one. */
const CONDITIONAL = 4;
/** So many places are looked at for blocks that are likely to follow one that was kept. */
const MOST_LIKELY = 64;

/** Memory for machine code, and how it is called: what only the host can give. */
export interface NativeHost extends HostAddresses {
  /** Executable, of the executor's own; behind it are the files of kept code. */
  readonly code: Uint8Array;
  /** Bytes for the executor's own. */
  readonly codeBytes: number;
  /** Undefined: none is kept. */
  readonly kept: KeptFiles | undefined;
  readonly codeAddress: bigint;
  /** A Context, and its host address, below 2 GiB. */
  readonly context: BigUint64Array;
  readonly contextAddress: number;
  /** Calls the function whose host address stands at `context`, with that as argument. */
  readonly call: (context: number) => number;
  readonly ramAddress: bigint;
  /** Of the calling thread. */
  setGsBase(address: bigint): void;
  /** Gives the memory back. Nothing of it may be used after this. */
  release(): void;
}

/** Engines that nobody disposed of: those of tests. */
const unused = new FinalizationRegistry<() => void>((release) => release());

export class NativeCode implements HotCode, BlockCompiler {
  readonly #blocks: BlockCache;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #quads: BigUint64Array;
  readonly #bytes: Uint8Array;
  readonly #assembler: Assembler;
  readonly #translator: BlockTranslator;
  readonly #host: NativeHost;
  /** Offset of the code behind the routines. */
  readonly #begin: number;
  /** … and of where the cold half begins. */
  readonly #coldBegin: number;
  /** Jumps for which there is no code yet. */
  readonly #waiting = new WaitingJumps();
  /** How often accesses lay in two pages, by the block's address in the frames memory. */
  readonly #crossing = new Map<number, number>();
  readonly #kept: KeptCode | undefined;
  /** Offsets in the page where blocks may begin that follow one that was kept: whoever kept that one most likely kept them. */
  readonly #likely = new Int32Array(MOST_LIKELY);
  #likelyCount = 0;
  /** How many of them were given out. */
  #likelyGiven = 0;
  /** Jumps of new blocks, which are of one page, and that page's number. */
  readonly #unlinked = new JumpList();
  #page = 0;
  readonly #loaded: Written = newWritten();
  readonly #spanningPage = new Uint8Array(2 * PAGE);
  /** Address of the register file of the vCPU that runs. */
  #vcpu = 0;
  readonly counts: HotCodeCounts = {
    regions: 0,
    instructions: 0,
    bytes: 0,
    dropped: 0,
    evicted: 0,
    declined: 0,
    kept: 0,
  };

  /** @param resolve gives core functions and host functions by name */
  constructor(
    host: NativeHost,
    blocks: BlockCache,
    state: WebAssembly.Memory,
    ram: GuestRam,
    table: WebAssembly.Table,
    resolve: (name: string) => unknown,
  ) {
    this.#host = host;
    this.#blocks = blocks;
    this.#words = new Int32Array(state.buffer);
    this.#halves = new Uint16Array(state.buffer);
    this.#quads = new BigUint64Array(state.buffer);
    this.#bytes = ram.pool.bytes;
    this.#assembler = new Assembler(host.code.subarray(0, host.codeBytes));
    // an offset of 0 is none
    this.#assembler.at = 16;
    const routines = writeRoutines(this.#assembler, { ...host, codeEntryBytes: 4 * ram.codeWords });
    this.#begin = this.#assembler.at;
    this.#host.context[Context.ENTER / 8] = host.codeAddress + BigInt(routines.enter);
    this.#host.context[Context.CODE / 8] = host.codeAddress;
    unused.register(this, () => host.release(), this);
    this.#translator = new BlockTranslator(this.#assembler, routines);
    this.#kept = host.kept && new KeptCode(host.code, this.#assembler, this.#begin, host.kept);
    this.#coldBegin = host.codeBytes >> 1;
    this.#translator.cold = this.#coldBegin;
    const names = ["refill", "interpret"];
    const functions = Object.fromEntries(names.map((name) => [name, resolve(name)]));
    const { exports } = new WebAssembly.Instance(
      new WebAssembly.Module(entryModule(ram.pool.pages, host.contextAddress)),
      {
        host: { ...functions, call: host.call },
        mere: { state, ram: ram.pool.shared.memory },
      },
    );
    table.set(REGION_HANDLERS, exports["native"]);
    blocks.compiler = this;
  }

  dispose(): void {
    unused.unregister(this);
    this.#kept?.finish();
    this.#host.release();
  }
  idle(): void {
    this.#kept?.keep();
  }
  select(vcpu: number): void {
    const file = this.#host.stateAddress + BigInt(vcpu);
    this.#vcpu = vcpu;
    this.#host.setGsBase(file);
    this.#quads[(vcpu + Native.FILE) >> 3] = file;
    this.#quads[(vcpu + Engine.RAM_HOST) >> 3] = this.#host.ramAddress;
  }
  get translatesAll(): boolean {
    return false;
  }
  get wantsSamples(): boolean {
    return false;
  }
  isRegion(entry: number): boolean {
    return this.#halves[entry >> 1] === REGION_HANDLERS;
  }
  notePlain(address: number, entry: number): void {
    const { records } = this.#blocks;
    const block = records.at(Math.floor(address / PAGE), address & (PAGE - 1), BlockKind.KNOWN);
    if (block !== 0) this.#words[(records.entryOf(block) + RegionEntry.PLAIN) >> 2] = entry;
  }
  see(): boolean {
    return true;
  }
  outgrown(): void {}
  /** A block was left because an access, or what it makes sure of together, lies in two pages: if that happens often it is made anew with code for that. */
  noteCrossing(vcpu: number, address: number): void {
    const word = (vcpu + Engine.CROSSING) >> 2;
    const code = this.#words[word];
    if (code === 0) return;
    this.#words[word] = 0;
    if (code >= this.#coldBegin) return; // code for this is there already
    const { records } = this.#blocks;
    const block = records.withCode(Math.floor(address / PAGE), code);
    if (block === 0) return;
    const { frame, from } = records.read(block);
    const key = frame * PAGE + from;
    const times = (this.#crossing.get(key) ?? 0) + 1;
    this.#crossing.set(key, times);
    if (times === MOST_CROSSINGS) this.#blocks.dropBlock(key);
  }
  validate(): number {
    return 0;
  }
  install(): void {}

  /** Is RIP in the upper half? */
  get #inKernel(): boolean {
    return this.#words[(this.#vcpu + Reg.RIP + 4) >> 2] < 0;
  }
  get isFull(): boolean {
    const { at, bytes } = this.#assembler;
    return at + MOST_BLOCK_BYTES > this.#coldBegin || this.#translator.cold + MOST_BLOCK_BYTES > bytes.length;
  }
  compile(page: number, from: number): Compiled | undefined {
    this.#page = page / PAGE;
    return this.#load(page, from, false) ?? this.#translate(page, from);
  }
  compileLikely(page: number, from: number): Compiled | undefined {
    return this.#load(page, from, true);
  }
  nextLikely(): number {
    if (this.#likelyGiven < this.#likelyCount && !this.isFull) return this.#likely[this.#likelyGiven++];
    this.#likelyCount = this.#likelyGiven = 0;
    const { words, length } = this.#unlinked;
    for (let i = 0; i < length; i += 2) this.#link(words[i], words[i + 1], this.#page);
    this.#unlinked.length = 0;
    return -1;
  }
  /** Is the block to have code for accesses in two pages? */
  #crosses(address: number): boolean {
    return (this.#crossing.get(address) ?? 0) >= MOST_CROSSINGS;
  }
  /** Takes a block from what is kept. @param near is it likely to follow the last one? */
  #load(page: number, from: number, near: boolean): Written | undefined {
    const kept = this.#kept;
    if (kept === undefined) return undefined;
    const copies = this.#crossing.size > 0 && this.#crosses(page + from);
    const record = near
      ? kept.findNear(this.#bytes, page, from, this.#inKernel, copies)
      : kept.find(this.#bytes, page, from, this.#inKernel, copies);
    if (record === 0) return undefined;
    const written = this.#loaded;
    const unlinked = this.#unlinked;
    const first = unlinked.length;
    this.#translator.cold = kept.load(record, this.#translator.cold, written, unlinked);
    this.counts.kept++;
    this.#noteLikely(written.to, first);
    return this.#made(written, from);
  }
  #translate(page: number, from: number): Written | undefined {
    const translator = this.#translator;
    const [kernel, crosses] = [this.#inKernel, this.#crosses(page + from)];
    const written = translator.translate(
      this.#bytes,
      page,
      from,
      PAGE,
      MOST_INSTRUCTIONS,
      kernel,
      crosses ? Pages.BOTH : Pages.ONE,
    );
    if (written.count === 0) return undefined;
    this.#kept?.note(this.#bytes, page, from, kernel, written, translator.cold);
    const { sites } = written;
    for (let i = 0; i < sites.length; i += 2) this.#unlinked.add(sites[i], sites[i + 1]);
    return this.#made(written, from);
  }
  /** There is code for a block of #page. */
  #made(written: Written, from: number): Written {
    this.#count(written);
    this.#waiting.bind(this.#page, from, written.code, this.#assembler);
    return written;
  }
  compileSpanning(bytes: Uint8Array, from: number): number {
    const page = this.#spanningPage;
    page.set(bytes.subarray(0, MAX_INSTRUCTION), from);
    // its jumps lead to other pages, or to themselves in a page that may be another's
    const written = this.#translator.translate(page, 0, from, from + MAX_INSTRUCTION, 1, this.#inKernel);
    if (written.count === 0) return 0;
    this.#count(written);
    return written.code;
  }
  #count({ count, code }: Written): void {
    this.counts.regions++;
    this.counts.instructions += count;
    this.counts.bytes += this.#assembler.at - code;
  }
  /** What is behind the loaded block, and where it jumps to. @param first of its jumps in #unlinked */
  #noteLikely(to: number, first: number): void {
    const { words, length } = this.#unlinked;
    // of a conditional jump that is where what it depends on ends, and its two ways are among the jumps
    if (to < PAGE && length - first !== CONDITIONAL) this.#addLikely(to);
    for (let i = first + 1; i < length; i += 2) if (words[i] !== to) this.#addLikely(words[i]);
  }
  #addLikely(offset: number): void {
    if (this.#likelyCount < MOST_LIKELY) this.#likely[this.#likelyCount++] = offset;
  }
  /** A jump goes to an offset in a page, now or when there is code. @param at offset of its displacement */
  #link(at: number, to: number, page: number): void {
    const { records } = this.#blocks;
    const block = records.at(page, to, BlockKind.KNOWN);
    const code = block === 0 ? 0 : records.codeOf(block);
    if (code !== 0) this.#assembler.bind(at, code);
    else this.#waiting.add(page, to, at);
  }

  drop({ code, kind, frame, from }: Block): void {
    const at = this.#translator.writeGone(code, from);
    if (kind === BlockKind.SPANNING) return; // no jump leads there
    this.#link(at, from, frame);
    this.counts.dropped++;
  }
  clear(): void {
    const all = this.counts.regions - this.counts.dropped;
    this.counts.dropped += all;
    if (this.isFull) this.counts.evicted += all;
    this.#waiting.clear();
    this.#crossing.clear();
    this.#assembler.at = this.#begin;
    this.#translator.cold = this.#coldBegin;
  }

  at(address: number): ReturnType<HotCode["at"]> {
    const block = this.#blocks.blockAt(address);
    if (block === undefined || block.code === 0) return undefined;
    return {
      runs: [{ frame: Math.floor(address / PAGE), from: block.from, to: block.to }],
      places: [address],
      seed: address,
    };
  }
  /** For tests: native code of this one instruction. @returns its entry, 0 if it is the interpreter's */
  single(bytes: Uint8Array, offset: number): number {
    if (offset + bytes.length > PAGE) return 0;
    const page = new Uint8Array(PAGE);
    page.set(bytes, offset);
    this.#assembler.at = this.#begin;
    this.#translator.cold = this.#coldBegin;
    const { count, code } = this.#translator.translate(page, 0, offset, offset + bytes.length, 1, this.#inKernel);
    if (count === 0) return 0;
    const entry = this.#blocks.singleRegion(REGION_HANDLERS, offset, bytes.length);
    this.#words[(entry + RegionEntry.LABEL) >> 2] = code;
    return entry;
  }
}
