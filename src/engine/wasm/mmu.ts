/* Mmu: one vCPU's address translation. Fills and flushes the software TLB banks and the jump cache of layout.ts, does the accesses that the inline
 * probe cannot (page-crossing, device windows, pages with decoded code), and walks page tables. Runs on the executor's thread, called out of
 * generated code. @source SDM vol. 3A §4.10 for what must be invalidated when. */
import type { GuestRam } from "../../memory/guest-ram.ts";
import { GuestFault, Vector, type Privilege } from "../../isa/cpu.ts";
import type { RegisterFile } from "../../isa/register-file.ts";
import { Reg, Rflags } from "../../isa/registers.ts";
import { matchDataBreakpoints } from "../../isa/system/debug.ts";
import { Access as Walk, PagingMode, Translation, walk, type PhysicalReader } from "../../isa/system/paging.ts";
import type { VcpuPorts } from "../engine.ts";
import type { BlockCache } from "./blocks.ts";
import { Access, jumpCacheIndex } from "./core.ts";
import {
  BANK_MODES,
  BANK_SETS,
  BankMode,
  Engine,
  GENERATIONS,
  JUMP_CACHE_BYTES,
  TLB_BANK_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  VCPU_BYTES,
  VCPU_EMPTY_BANK,
  VCPU_JUMP_CACHE,
  VCPU_TLB,
} from "./layout.ts";

const PAGE = 4096;
const NO_PCID = -1;
const WALK_ACCESS = [Walk.READ, Walk.WRITE] as const;
const TWO_32 = 0x1_0000_0000;
const LINEAR_PAGES = 2 ** 52;
/** Above this many filled entries a flush clears whole banks. */
const FEW_ENTRIES = 512;

/** Is bits 63–47 one value? @param high upper half of the address */
const isCanonicalHigh = (high: number): boolean => (high << 16) >> 16 === (high | 0);

/** Where accesses go that hit no RAM. */
export type DevicePorts = Pick<VcpuPorts, "mmioRead" | "mmioWrite">;

export interface FlushScope {
  kind: "all" | "nonGlobal" | "address";
  address?: bigint;
  pcid?: number;
}

export class Mmu implements PhysicalReader {
  readonly mode = new PagingMode();
  readonly #t = new Translation();
  readonly #base: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #regs: RegisterFile;
  readonly #ram: GuestRam;
  readonly #ramWords: Int32Array;
  readonly #ports: DevicePorts;
  readonly #blocks: BlockCache;
  /** PCID of each bank set, least recently used last in #order. */
  readonly #pcids = new Int32Array(BANK_SETS).fill(NO_PCID);
  #order = Array.from({ length: BANK_SETS }, (_, i) => i);
  #set = 0;
  /** Regions of 2 MiB and 1 GiB that large pages filled entries of: INVLPG there drops the whole set. */
  readonly #large = Array.from({ length: BANK_SETS }, () => new Set<number>());
  /** Entries filled since the last flush of each set (word indices), while they are few: flushing then costs what filling did. */
  readonly #filled = Array.from({ length: BANK_SETS }, () => new Int32Array(FEW_ENTRIES));
  readonly #filledCount = new Int32Array(BANK_SETS);
  /** Linear pages that the jump cache may have entries of. */
  readonly #jumpPages = new Set<number>();

  /** User code with CR0.AM and RFLAGS.AC (both are bit 18): data that is not aligned to its size is #AC. @source SDM vol. 3A §6.15 "Interrupt 17" */
  #aligned = false;
  /** Linear pages with data breakpoints. */
  #watched: readonly number[] = [];
  /** DR6 bits of the data breakpoints that were met since the owner cleared them. */
  watchHits = 0;

  /** @param base the vCPU's area in the state memory */
  constructor(
    base: number,
    stateBuffer: ArrayBufferLike,
    regs: RegisterFile,
    ram: GuestRam,
    ports: DevicePorts,
    blocks: BlockCache,
  ) {
    this.#base = base;
    this.#words = new Int32Array(stateBuffer);
    this.#bytes = new Uint8Array(stateBuffer);
    this.#regs = regs;
    this.#ram = ram;
    this.#ramWords = new Int32Array(ram.pool.shared.memory.buffer);
    this.#ports = ports;
    this.#blocks = blocks;
    this.#bytes.fill(0xff, base + VCPU_TLB, base + VCPU_BYTES);
    this.#words[(base + Engine.GENERATION) >> 2] = 1;
    this.#pcids[0] = 0;
  }

  // ——— page tables in guest RAM ———
  readLow(gpa: number): number {
    const page = gpa < TWO_32 ? gpa >>> 12 : Math.floor(gpa / PAGE);
    const frame = this.#ram.map[page];
    if (frame > 0) return this.#ramWords[frame * (PAGE / 4) + ((gpa & (PAGE - 1)) >>> 2)];
    return frame === 0 ? 0 : -1; // nothing yet reads as zero; undefined: beyond RAM
  }
  readHigh(gpa: number): number {
    return this.readLow(gpa + 4);
  }
  compareExchangeLow(gpa: number, expected: number, replacement: number): boolean {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    return (
      frame >= 0 &&
      Atomics.compareExchange(this.#ramWords, (frame + (gpa % PAGE)) / 4, expected, replacement) === expected
    );
  }

  // ——— modes ———
  /** CPL, AC, CR0, CR3, CR4 or EFER changed: choose the bank. */
  modeChanged(): void {
    const regs = this.#regs;
    this.mode.update(regs);
    const pcid = regs.get32(Reg.CR4) & 0x2_0000 ? regs.get32(Reg.CR3) & 0xfff : 0;
    if (this.#pcids[this.#set] !== pcid) this.#selectSet(pcid);
    this.#selectBank();
    const cr0 = regs.get32(Reg.CR0);
    regs.set32(Engine.X87_TRAP, cr0 & 0xc);
    regs.set32(Engine.SSE_TRAP, (cr0 & 0xc) | (regs.get32(Reg.CR4) & 0x200 ? 0 : 1));
  }
  get #user(): boolean {
    return this.#words[(this.#base + Reg.CPL) >> 2] === 3;
  }
  get #ac(): boolean {
    return !this.mode.smap || (this.#words[(this.#base + Reg.RFLAGS) >> 2] & Rflags.AC) !== 0;
  }
  #selectBank(): void {
    const words = this.#words;
    const base = this.#base;
    this.#aligned = this.#user && (this.#regs.get32(Reg.CR0) & this.#regs.get32(Reg.RFLAGS) & Rflags.AC) !== 0;
    words[(base + Engine.BANK_USER) >> 2] = this.#aligned
      ? base + VCPU_EMPTY_BANK
      : this.#bank(this.#set, BankMode.USER);
    words[(base + Engine.BANK_SUPERVISOR_AC) >> 2] = this.#bank(this.#set, BankMode.SUPERVISOR_AC);
    words[(base + Engine.BANK_SUPERVISOR) >> 2] = this.#bank(
      this.#set,
      this.mode.smap ? BankMode.SUPERVISOR : BankMode.SUPERVISOR_AC,
    );
    const kind = this.#user ? Engine.BANK_USER : this.#ac ? Engine.BANK_SUPERVISOR_AC : Engine.BANK_SUPERVISOR;
    words[(base + Engine.TLB) >> 2] = words[(base + kind) >> 2];
  }
  #bank(set: number, kind: number): number {
    return this.#base + VCPU_TLB + (set * BANK_MODES + kind) * TLB_BANK_BYTES;
  }
  #selectSet(pcid: number): void {
    let set = this.#pcids.indexOf(pcid);
    if (set < 0) {
      set = this.#order.at(-1)!;
      this.#flushSet(set);
      this.#pcids[set] = pcid;
    }
    this.#order = [set, ...this.#order.filter((s) => s !== set)];
    this.#set = set;
  }

  // ——— flushing ———
  #flushSet(set: number): void {
    const filled = this.#filled[set];
    const count = this.#filledCount[set];
    this.#filledCount[set] = 0;
    if (count > filled.length) {
      const start = this.#bank(set, 0);
      this.#bytes.fill(0xff, start, start + BANK_MODES * TLB_BANK_BYTES);
    } else for (let i = 0; i < count; i++) this.#words.fill(-1, filled[i], filled[i] + 4);
    this.#large[set].clear();
    this.flushJumpCache();
  }
  flushJumpCache(): void {
    if (this.#jumpPages.size === 0) return;
    this.#jumpPages.clear();
    const at = (this.#base + Engine.GENERATION) >> 2;
    if (++this.#words[at] < GENERATIONS) return;
    this.#words[at] = 1;
    const start = this.#base + VCPU_JUMP_CACHE;
    this.#bytes.fill(0, start, start + JUMP_CACHE_BYTES);
  }
  flush(scope: FlushScope): void {
    if (scope.kind === "address") return this.#flushAddress(scope.address!);
    // Global pages are not told apart: dropping more than asked is allowed.
    for (let set = 0; set < BANK_SETS; set++) {
      if (scope.pcid === undefined || this.#pcids[set] === scope.pcid) this.#flushSet(set);
    }
  }
  #flushAddress(address: bigint): void {
    const page = Number(BigInt.asUintN(64, address) >> 12n);
    for (let set = 0; set < BANK_SETS; set++) {
      const large = this.#large[set];
      if (large.size > 0 && (large.has(Math.floor(page / 512)) || large.has(-1 - Math.floor(page / 262144)))) {
        this.#flushSet(set);
        continue;
      }
      this.#dropPage(set, page);
    }
    if (this.#jumpPages.has(page)) this.flushJumpCache();
  }
  #dropPage(set: number, page: number): void {
    for (let kind = 0; kind < BANK_MODES; kind++) {
      const entry = this.#bank(set, kind) + (page % TLB_ENTRIES) * TLB_ENTRY_BYTES;
      this.#bytes.fill(0xff, entry, entry + 16);
    }
  }
  /** No write goes unseen to a frame from now on: it holds decoded code. @param frameAddress byte offset in the pool */
  protectFrame(frameAddress: number): void {
    const words = this.#words;
    const start = this.#bank(0, 0);
    const end = start + BANK_SETS * BANK_MODES * TLB_BANK_BYTES;
    for (let entry = start >> 2; entry < end >> 2; entry += TLB_ENTRY_BYTES >> 2) {
      if (words[entry + 2] & 1) continue; // no write tag
      const low = (words[entry + 4] + words[entry + 2]) | 0; // low half of addend + page
      if (low === (frameAddress | 0) && this.#hostOf(entry) === frameAddress) {
        words[entry + 2] = -1;
        words[entry + 3] = -1;
      }
    }
  }
  #hostOf(entry: number): number {
    const w = this.#words;
    const low = (w[entry + 4] >>> 0) + (w[entry + 2] >>> 0);
    const high = (w[entry + 5] + w[entry + 3] + (low >= TWO_32 ? 1 : 0)) >>> 0;
    return high * TWO_32 + (low >>> 0);
  }

  // ——— data breakpoints ———
  /** From now on accesses to these linear pages, and no others, are compared with the debug registers: they go the slow way. */
  watch(pages: readonly number[]): void {
    if (pages.length === 0 && this.#watched.length === 0) return;
    for (const page of pages) {
      if (this.#watched.includes(page)) continue;
      for (let set = 0; set < BANK_SETS; set++) this.#dropPage(set, page);
    }
    this.#watched = pages;
  }
  #isWatched(low: number, high: number): boolean {
    return this.#watched.length > 0 && this.#watched.includes((high >>> 0) * 0x10_0000 + (low >>> 12));
  }
  #compare(address: bigint, size: number, write: boolean, privilege: Privilege): void {
    if (this.#watched.length > 0 && privilege === "current")
      this.watchHits |= matchDataBreakpoints(this.#regs, address, size, write);
  }

  // ——— TLB fill ———
  #fault(low: number, high: number): never {
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    throw new GuestFault(Vector.PF, this.#t.errorCode, address);
  }
  /** Makes the current bank hold the page for the access. @returns 0 done, 1 to be done piecewise. Throws GuestFault. */
  fill(entry: number, low: number, high: number, access: number, size: number): number {
    const last = (low >>> 0) + size - 1;
    if (!isCanonicalHigh(high) || (last >= TWO_32 && !isCanonicalHigh(high + 1))) {
      throw new GuestFault(this.#blocks.usesStack(entry) ? Vector.SS : Vector.GP, 0);
    }
    const t = this.#t;
    if (this.#aligned && (low & (Math.min(size, 8) - 1)) !== 0) throw new GuestFault(Vector.AC, 0);
    if ((low & (PAGE - 1)) + size > PAGE || this.#aligned || this.#isWatched(low, high)) {
      if (access === Access.WRITE) this.#probe(low, high, size);
      return 1;
    }
    if (!walk(this, this.mode, high, low, WALK_ACCESS[access], this.#user, this.#ac, t)) this.#fault(low, high);
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0) return 1;
    const hasCode = (this.#ram.code[frame / 1024] & 1) !== 0; // frame number × 4 words
    if (access === Access.WRITE && hasCode) return 1;
    const writable = !hasCode && (access === Access.WRITE || (t.dirty && t.writable && (!this.#user || t.user)));
    this.#enter(low, high, frame, writable);
    if (t.pageSize > PAGE) this.#noteLarge(low, high, t.pageSize);
    return 0;
  }
  #noteLarge(low: number, high: number, pageSize: number): void {
    const page = (high >>> 0) * 0x10_0000 + (low >>> 12);
    this.#large[this.#set].add(pageSize === 0x20_0000 ? Math.floor(page / 512) : -1 - Math.floor(page / 262144));
  }
  #enter(low: number, high: number, frame: number, writable: boolean): void {
    const words = this.#words;
    const page = low & -PAGE;
    const entry = (words[(this.#base + Engine.TLB) >> 2] + ((low >>> 12) % TLB_ENTRIES) * TLB_ENTRY_BYTES) >> 2;
    for (let tag = entry; tag < entry + 4; tag += 2) {
      if (words[tag] !== page || words[tag + 1] !== high) words[tag] = words[tag + 1] = -1;
    }
    const filled = this.#filledCount[this.#set]++;
    if (filled < FEW_ENTRIES) this.#filled[this.#set][filled] = entry;
    words[entry] = page;
    words[entry + 1] = high;
    if (writable) {
      words[entry + 2] = page;
      words[entry + 3] = high;
    }
    const frameLow = frame % TWO_32;
    const pageLow = page >>> 0;
    words[entry + 4] = frameLow - pageLow;
    words[entry + 5] = Math.floor(frame / TWO_32) - high - (frameLow < pageLow ? 1 : 0);
  }

  /** Byte offset in the pool of code at RIP; throws the fetch's fault. */
  fetchAddress(low: number, high: number): number {
    if (!isCanonicalHigh(high)) throw new GuestFault(Vector.GP, 0);
    const t = this.#t;
    if (!walk(this, this.mode, high, low, Walk.FETCH, this.#user, this.#ac, t)) this.#fault(low, high);
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    // A fetch from a device window finds nothing to run: the processor would raise a machine check; #GP stops the guest as well.
    if (frame < 0) throw new GuestFault(Vector.GP, 0);
    if (t.pageSize > PAGE) this.#noteLarge(low, high, t.pageSize);
    return frame + (low & (PAGE - 1));
  }
  /** As fetchAddress; −1 where that throws. */
  codeAddress(low: number, high: number): number {
    if (!isCanonicalHigh(high)) return -1;
    const t = this.#t;
    if (!walk(this, this.mode, high, low, Walk.FETCH, this.#user, this.#ac, t)) return -1;
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0) return -1;
    if (t.pageSize > PAGE) this.#noteLarge(low, high, t.pageSize);
    this.#jumpPages.add((high >>> 0) * 0x10_0000 + (low >>> 12));
    return frame + (low & (PAGE - 1));
  }
  /** Makes the run loop find the block at this address by itself. @param spans it reaches into the next page */
  cacheJump(low: number, high: number, block: number, spans: boolean): void {
    const page = (high >>> 0) * 0x10_0000 + (low >>> 12);
    this.#jumpPages.add(page);
    if (spans) this.#jumpPages.add((page + 1) % LINEAR_PAGES);
    const words = this.#words;
    const entry = (this.#base + VCPU_JUMP_CACHE + jumpCacheIndex(low, high) * 16) >> 2;
    words[entry] = low;
    words[entry + 1] = high;
    words[entry + 2] = words[(this.#base + Engine.TLB) >> 2] | words[(this.#base + Engine.GENERATION) >> 2];
    words[entry + 3] = block;
  }

  /** For work on whole pieces of a page: where the byte is in the frames memory; −1 if the access faults, is none of RAM, or (writes) hits a
   *  page with code. Raises nothing. */
  hostAddress(low: number, high: number, write: boolean): number {
    if (!isCanonicalHigh(high) || this.#aligned || this.#isWatched(low, high)) return -1;
    const t = this.#t;
    if (!walk(this, this.mode, high, low, write ? Walk.WRITE : Walk.READ, this.#user, this.#ac, t)) return -1;
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0 || (write && (this.#ram.code[frame / 1024] & 1) !== 0)) return -1;
    return frame + (low & (PAGE - 1));
  }

  // ——— piecewise access ———
  /** Guest-physical address of one byte. Throws GuestFault. */
  #translate(low: number, high: number, access: Walk, privilege: Privilege): number {
    if (!isCanonicalHigh(high)) throw new GuestFault(Vector.GP, 0);
    const isSystem = privilege === "system";
    if (!walk(this, this.mode, high, low, access, this.#user && !isSystem, !isSystem && this.#ac, this.#t))
      this.#fault(low, high);
    return this.#t.gpa;
  }
  /** Checks that [address, +size) may be written. */
  #probe(low: number, high: number, size: number, privilege: Privilege = "current"): void {
    if ((low >>> 0) + size > TWO_32 && !isCanonicalHigh(high + 1)) throw new GuestFault(Vector.GP, 0);
    this.#translate(low, high, Walk.WRITE, privilege);
    for (let done = PAGE - (low & (PAGE - 1)); done < size; done += PAGE) {
      const next = (low >>> 0) + done;
      this.#translate(next | 0, (high + (next >= TWO_32 ? 1 : 0)) | 0, Walk.WRITE, privilege);
    }
  }
  probeWrite(address: bigint, size: number, privilege: Privilege = "current"): void {
    this.#probe(Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n)), size, privilege);
  }

  read(address: bigint, size: number, privilege: Privilege = "current"): bigint {
    this.#compare(address, size, false, privilege);
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const first = PAGE - (low & (PAGE - 1));
    if (size > first) {
      const start = this.read(address, first, privilege); // a fault of the first page comes first
      return (
        start | (this.read(BigInt.asUintN(64, address + BigInt(first)), size - first, privilege) << BigInt(8 * first))
      );
    }
    return this.#readPhysical(this.#translate(low, high, Walk.READ, privilege), size);
  }
  #readPhysical(gpa: number, size: number): bigint {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    if (frame < 0) return this.#readDevice(gpa, size);
    const at = frame + (gpa % PAGE);
    if (size === 8) return this.#ram.pool.view.getBigUint64(at, true);
    if (size === 4) return BigInt(this.#ram.pool.view.getUint32(at, true));
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#ram.pool.bytes[at + i]);
    return value;
  }
  #readDevice(gpa: number, size: number): bigint {
    if (size === 1 || size === 2 || size === 4 || size === 8) return this.#ports.mmioRead(gpa, size);
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | this.#ports.mmioRead(gpa + i, 1);
    return value;
  }
  write(address: bigint, size: number, value: bigint, privilege: Privilege = "current"): void {
    this.#compare(address, size, true, privilege);
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const first = PAGE - (low & (PAGE - 1));
    if (size > first) {
      this.#probe(low, high, size, privilege);
      this.write(address, first, value, privilege);
      return this.write(
        BigInt.asUintN(64, address + BigInt(first)),
        size - first,
        value >> BigInt(8 * first),
        privilege,
      );
    }
    this.#writePhysical(this.#translate(low, high, Walk.WRITE, privilege), size, value);
  }
  #writePhysical(gpa: number, size: number, value: bigint): void {
    const frame = this.#ram.frameAddress(Math.floor(gpa / PAGE));
    if (frame < 0) return this.#writeDevice(gpa, size, value);
    const at = frame + (gpa % PAGE);
    if (size === 8) this.#ram.pool.view.setBigUint64(at, value, true);
    else for (let i = 0; i < size; i++) this.#ram.pool.bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    if (this.#ram.code[frame / 1024] & 1) this.#blocks.codeWritten(frame, gpa % PAGE, size);
  }
  #writeDevice(gpa: number, size: number, value: bigint): void {
    if (size === 1 || size === 2 || size === 4 || size === 8)
      return this.#ports.mmioWrite(gpa, size, BigInt.asUintN(8 * size, value));
    for (let i = 0; i < size; i++) this.#ports.mmioWrite(gpa + i, 1, (value >> BigInt(8 * i)) & 0xffn);
  }
  readVector(address: bigint): void {
    const view = this.#regs.view;
    const low = this.read(address, 8);
    const high = this.read(BigInt.asUintN(64, address + 8n), 8);
    view.setBigUint64(Engine.SCRATCH, low, true);
    view.setBigUint64(Engine.SCRATCH + 8, high, true);
  }
  writeVector(address: bigint): void {
    const view = this.#regs.view;
    this.probeWrite(address, 16);
    this.write(address, 8, view.getBigUint64(Engine.SCRATCH, true));
    this.write(BigInt.asUintN(64, address + 8n), 8, view.getBigUint64(Engine.SCRATCH + 8, true));
  }
}
