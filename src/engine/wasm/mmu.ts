/* Mmu: one vCPU's address translation. Fills and flushes the software TLB banks and the jump cache of layout.ts, does the accesses that the inline
 * probe cannot (page-crossing, device windows, pages with decoded code), and walks page tables. Runs on the executor's thread, called out of
 * generated code. @source SDM vol. 3A §4.10 for what must be invalidated when. */
import type { GuestRam } from "../../memory/guest-ram.ts";
import { GuestFault, PageFault, Vector, type Privilege } from "../../isa/cpu.ts";
import type { RegisterFile } from "../../isa/register-file.ts";
import { Reg, Rflags } from "../../isa/registers.ts";
import { matchDataBreakpoints } from "../../isa/system/debug.ts";
import { isCanonicalHigh } from "../../isa/system/linear-address.ts";
import { Access as Walk, PagingMode, Translation, walk } from "../../isa/system/paging.ts";
import type { BlockCache } from "./blocks.ts";
import { Access } from "./core.ts";
import { JumpCache } from "./jump-cache.ts";
import { forgetLargePages, mayBeLargePage, noteLargePage } from "./large-pages.ts";
import {
  BANK_MODES,
  BANK_SET_BYTES,
  BANK_SETS,
  BankMode,
  BankSet,
  blockTableOf,
  Engine,
  FAULT_PENDING,
  FEW_ENTRIES,
  TLB_BANK_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_OTHER,
  VCPU_BANK_SETS,
  VCPU_EMPTY_BANK,
  VCPU_AREA,
  VCPU_BYTES,
  VCPU_TLB,
} from "./layout.ts";
import { PhysicalMemory, type DevicePorts } from "./physical.ts";
import { writeEntry } from "./tlb-entries.ts";
import { SystemPages } from "./system-pages.ts";

const PAGE = 4096;
const NO_PCID = -1;
const WALK_ACCESS = [Walk.READ, Walk.WRITE] as const;
const TWO_32 = 0x1_0000_0000;
const CR4_PGE = 1 << 7;

export interface FlushScope {
  kind: "all" | "nonGlobal" | "address";
  address?: bigint;
  pcid?: number;
}

export class Mmu {
  readonly mode = new PagingMode();
  readonly #t = new Translation();
  readonly #pageFault = new PageFault();
  readonly #base: number;
  /** The vCPU's number. */
  readonly vcpu: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #regs: RegisterFile;
  readonly #ram: GuestRam;
  readonly #physical: PhysicalMemory;
  readonly #blocks: BlockCache;
  /** PCID of each bank set, least recently used last in #order. */
  readonly #pcids = new Int32Array(BANK_SETS).fill(NO_PCID);
  readonly #order = Array.from({ length: BANK_SETS }, (_, i) => i);
  #set = 0;
  /** Sets whose banks are memory that was touched: few guests need all eight, which are 1.5 MiB. The others have no entries, and get them emptied when they are chosen first. */
  readonly #touched = new Array<boolean>(BANK_SETS).fill(false);
  readonly #jumps: JumpCache;
  readonly #system = new SystemPages();
  /** All code that was fetched since this was set lies in global pages. */
  #globalCode = true;

  /** User code with CR0.AM and RFLAGS.AC (both are bit 18): data that is not aligned to its size is #AC. @source SDM vol. 3A §6.15 "Interrupt 17" */
  #aligned = false;
  /** Linear pages with data breakpoints. */
  #watched: readonly number[] = [];
  /** DR6 bits of the data breakpoints that were met since the owner cleared them. */
  watchHits = 0;
  /** World.pass() when entries of frames that were taken from the guest were flushed last. */
  returnsSeen = 0;

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
    this.vcpu = (base - VCPU_AREA) / VCPU_BYTES;
    this.#words = new Int32Array(stateBuffer);
    this.#bytes = new Uint8Array(stateBuffer);
    this.#regs = regs;
    this.#ram = ram;
    this.#physical = new PhysicalMemory(ram, ports, blocks);
    this.#blocks = blocks;
    this.#jumps = new JumpCache(base, this.#words, this.vcpu);
  }

  /** Knows nothing, neither here nor in the TLB and the jump cache: whoever had the vCPU before filled them by its own books. */
  reset(): void {
    const base = this.#base;
    this.#bytes.fill(0xff, base + VCPU_EMPTY_BANK, base + VCPU_BANK_SETS);
    this.#bytes.fill(0, base + VCPU_BANK_SETS, base + VCPU_BANK_SETS + BANK_SETS * BANK_SET_BYTES);
    this.#jumps.reset();
    this.#words[(base + Engine.BLOCK_TABLE) >> 2] = blockTableOf(this.#blocks.executor);
    this.#words[(base + Engine.WRITER) >> 2] = 1 << this.vcpu;
    this.#pcids.fill(NO_PCID);
    this.#pcids[0] = 0;
    this.#set = 0;
    this.#touched.fill(false);
    this.#emptyBanks(0);
    this.#globalCode = true;
    this.#watched = [];
    this.#system.forget();
    this.modeChanged();
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
    words[(base + Engine.BANK_SET) >> 2] = this.#bankSet(this.#set);
    this.#chooseRefill();
    this.#jumps.select(this.#set, this.#user);
  }
  #chooseRefill(): void {
    this.#words[(this.#base + Engine.NO_REFILL) >> 2] = this.#aligned || this.#watched.length > 0 ? 1 : 0;
  }
  /** Byte offset of what a set's flushing needs. */
  #bankSet(set: number): number {
    return this.#base + VCPU_BANK_SETS + set * BANK_SET_BYTES;
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
    for (let i = this.#order.indexOf(set); i > 0; i--) this.#order[i] = this.#order[i - 1];
    this.#order[0] = set;
    this.#set = set;
    this.#system.forget();
  }

  // ——— flushing ———
  #flushSet(set: number): void {
    const words = this.#words;
    this.#system.forget();
    const at = this.#bankSet(set) >> 2;
    const count = words[at + (BankSet.COUNT >> 2)];
    words[at + (BankSet.COUNT >> 2)] = 0;
    if (count > FEW_ENTRIES || !this.#touched[set]) this.#emptyBanks(set);
    else {
      const list = at + (BankSet.LIST >> 2);
      for (let i = list; i < list + count; i++) {
        const entry = words[i] >> 2;
        words[entry] = words[entry + 1] = words[entry + 2] = words[entry + 3] = -1;
      }
    }
    forgetLargePages(words, at << 2);
    this.#jumps.flushSet(set);
  }
  #emptyBanks(set: number): void {
    this.#bytes.fill(0xff, this.#bank(set, 0), this.#bank(set + 1, 0));
    this.#touched[set] = true;
  }
  /** Decoded blocks have moved. */
  flushJumpCache(): void {
    this.#jumps.flushAll();
  }
  flush(scope: FlushScope): void {
    if (scope.kind === "address") return this.#flushAddress(scope.address!, scope.pcid);
    // Global pages are told apart only in the jump cache: dropping more than asked is allowed.
    for (let set = 0; set < BANK_SETS; set++) {
      if (this.#pcids[set] === NO_PCID) continue; // flushed when it is chosen
      if (scope.pcid === undefined || this.#pcids[set] === scope.pcid) this.#flushSet(set);
    }
    if (scope.kind === "all") this.#jumps.flushGlobal();
  }
  #flushAddress(address: bigint, pcid: number | undefined): void {
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    for (let set = 0; set < BANK_SETS; set++) {
      if (this.#pcids[set] === NO_PCID) continue;
      if (mayBeLargePage(this.#words, this.#bankSet(set), low, high)) {
        this.#flushSet(set);
        this.#jumps.flushGlobal();
      } else this.#dropPage(set, (low >>> 12) % TLB_ENTRIES);
    }
    if (this.#system.find(low, high) >= 0) this.#system.forget();
    const named = pcid === undefined ? this.#set : this.#pcids.indexOf(pcid);
    this.#jumps.dropPage(Math.max(named, 0), low, high);
  }
  #dropPage(set: number, index: number): void {
    for (let kind = 0; kind < 2 * BANK_MODES; kind++) {
      const place = kind % 2 === 0 ? index : index ^ TLB_OTHER;
      const entry = (this.#bank(set, kind >> 1) + place * TLB_ENTRY_BYTES) >> 2;
      this.#words.fill(-1, entry, entry + 4);
    }
  }

  // ——— data breakpoints ———
  /** From now on accesses to these linear pages, and no others, are compared with the debug registers: they go the slow way. */
  watch(pages: readonly number[]): void {
    if (pages.length === 0 && this.#watched.length === 0) return;
    for (const page of pages) {
      if (this.#watched.includes(page)) continue;
      for (let set = 0; set < BANK_SETS; set++) this.#dropPage(set, page % TLB_ENTRIES);
    }
    this.#watched = pages;
    this.#system.forget();
    this.#chooseRefill();
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
    throw this.#pageFault.again(this.#t.errorCode, address);
  }
  /** Leaves the last walk's #PF in Engine.FAULT, for generated code to end in. */
  #noteFault(low: number, high: number): void {
    const words = this.#words;
    words[(this.#base + Engine.FAULT_ADDRESS) >> 2] = low;
    words[(this.#base + Engine.FAULT_ADDRESS + 4) >> 2] = high;
    words[(this.#base + Engine.FAULT) >> 2] = this.#t.errorCode | FAULT_PENDING;
  }
  /** Makes the current bank hold the page for the access. @returns 0 done, 1 to be done piecewise, or a #PF was noted. Throws other faults. */
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
    if (!walk(this.#physical, this.mode, high, low, WALK_ACCESS[access], this.#user, this.#ac, t)) {
      this.#noteFault(low, high);
      return 1;
    }
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0) return 1;
    const wanted = access === Access.WRITE || (t.dirty && t.writable && (!this.#user || t.user));
    const writable = wanted && this.#ram.claimWrite(frame / PAGE, this.vcpu);
    if (access === Access.WRITE && !writable) return 1;
    this.#enter(low, high, frame, writable);
    if (t.pageSize > PAGE) noteLargePage(this.#words, this.#bankSet(this.#set), low, high, t.pageSize);
    return 0;
  }
  /** @param kind Engine word that names the bank */
  #enter(low: number, high: number, frame: number, writable: boolean, kind: number = Engine.TLB): void {
    const words = this.#words;
    const page = low & -PAGE;
    const entry = (words[(this.#base + kind) >> 2] + ((low >>> 12) % TLB_ENTRIES) * TLB_ENTRY_BYTES) >> 2;
    const set = this.#bankSet(this.#set) >> 2;
    const filled = words[set + (BankSet.COUNT >> 2)]++;
    if (filled < FEW_ENTRIES) words[set + (BankSet.LIST >> 2) + filled] = entry << 2;
    writeEntry(words, entry, page, high, frame, writable, (this.#base + Engine.RAM_HOST) >> 2);
  }

  /** Byte offset in the pool of code at RIP; throws the fetch's fault. cacheJump() takes the code fetched since the last one to be the block's. */
  fetchAddress(low: number, high: number): number {
    const address = this.fetchOrFault(low, high);
    if (address >= 0) return address;
    this.#words[(this.#base + Engine.FAULT) >> 2] = 0;
    return this.#fault(low, high);
  }
  /** As fetchAddress; −1: a #PF was noted in Engine.FAULT. */
  fetchOrFault(low: number, high: number): number {
    if (!isCanonicalHigh(high)) throw new GuestFault(Vector.GP, 0);
    const t = this.#t;
    if (!walk(this.#physical, this.mode, high, low, Walk.FETCH, this.#user, this.#ac, t)) {
      this.#noteFault(low, high);
      return -1;
    }
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    // A fetch from a device window finds nothing to run: the processor would raise a machine check; #GP stops the guest as well.
    if (frame < 0) throw new GuestFault(Vector.GP, 0);
    if (t.pageSize > PAGE) noteLargePage(this.#words, this.#bankSet(this.#set), low, high, t.pageSize);
    if (!t.global || (this.#words[(this.#base + Reg.CR4) >> 2] & CR4_PGE) === 0) this.#globalCode = false;
    return frame + (low & (PAGE - 1));
  }
  /** As fetchAddress; −1 where that throws. */
  codeAddress(low: number, high: number): number {
    if (!isCanonicalHigh(high)) return -1;
    const t = this.#t;
    if (!walk(this.#physical, this.mode, high, low, Walk.FETCH, this.#user, this.#ac, t)) return -1;
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0) return -1;
    if (t.pageSize > PAGE) noteLargePage(this.#words, this.#bankSet(this.#set), low, high, t.pageSize);
    if (!t.global || (this.#words[(this.#base + Reg.CR4) >> 2] & CR4_PGE) === 0) this.#globalCode = false;
    this.#jumps.pin(low, high);
    return frame + (low & (PAGE - 1));
  }
  /** The tag that stays valid as long as the code addresses asked for since the last one do. */
  codeTag(): number {
    const tag = this.#jumps.tag(this.#globalCode);
    this.#globalCode = true;
    return tag;
  }
  /** Makes the run loop find the block at this address by itself. @param spans it reaches into the next page */
  cacheJump(low: number, high: number, block: number, spans: boolean): void {
    this.#jumps.add(low, high, block, this.#globalCode, spans);
    this.#globalCode = true;
  }

  /** For work on whole pieces of a page: where the byte is in the frames memory; −1 if the access faults, is none of RAM, or (writes) hits a
   *  page with code. Raises nothing. */
  hostAddress(low: number, high: number, write: boolean): number {
    const known = this.#inTlb(low, high, write, "current");
    if (known >= 0) return known;
    if (!isCanonicalHigh(high) || this.#aligned || this.#isWatched(low, high)) return -1;
    const t = this.#t;
    if (!walk(this.#physical, this.mode, high, low, write ? Walk.WRITE : Walk.READ, this.#user, this.#ac, t)) return -1;
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0 || (write && !this.#ram.claimWrite(frame / PAGE, this.vcpu))) return -1;
    return frame + (low & (PAGE - 1));
  }

  /** For what the processor itself accesses, as a supervisor: where the byte is in the frames memory; −1 if it cannot be accessed simply (see
   *  hostAddress). Raises nothing. */
  systemAddress(low: number, high: number, write: boolean): number {
    const known = write ? -1 : this.#system.find(low, high);
    const at = known >= 0 ? known : this.#inTlb(low, high, write, "system");
    if (at >= 0) return at;
    if (!isCanonicalHigh(high) || this.#watched.length > 0) return -1;
    const t = this.#t;
    if (!walk(this.#physical, this.mode, high, low, write ? Walk.WRITE : Walk.READ, false, false, t)) return -1;
    const frame = this.#ram.frameAddress(Math.floor(t.gpa / PAGE));
    if (frame < 0) return -1;
    if (!write) this.#system.note(low, high, frame);
    const writable = (write || (t.dirty && t.writable)) && this.#ram.claimWrite(frame / PAGE, this.vcpu);
    if (write && !writable) return -1;
    this.#enter(low, high, frame, writable, Engine.BANK_SUPERVISOR);
    if (t.pageSize > PAGE) noteLargePage(this.#words, this.#bankSet(this.#set), low, high, t.pageSize);
    return frame + (low & (PAGE - 1));
  }
  /** User code came to be supervisor code, and nothing else has changed: what modeChanged() would do. */
  enterKernel(): void {
    if (this.#aligned) return this.modeChanged();
    const kind = this.#ac ? Engine.BANK_SUPERVISOR_AC : Engine.BANK_SUPERVISOR;
    this.#words[(this.#base + Engine.TLB) >> 2] = this.#words[(this.#base + kind) >> 2];
    this.#jumps.select(this.#set, false);
  }

  // ——— piecewise access ———
  /** Where a byte is in the frames memory, if the TLB has its page for such an access; else −1. */
  #inTlb(low: number, high: number, write: boolean, privilege: Privilege): number {
    const w = this.#words;
    const bank = w[(this.#base + (privilege === "current" ? Engine.TLB : Engine.BANK_SUPERVISOR)) >> 2];
    const entry = (bank + ((low >>> 12) % TLB_ENTRIES) * TLB_ENTRY_BYTES) >> 2;
    const tag = write ? entry + 2 : entry;
    if (w[tag] !== (low & -PAGE) || w[tag + 1] !== high) return -1;
    const sum = (w[entry + 4] >>> 0) + (low >>> 0);
    return ((w[entry + 5] + high + (sum >= TWO_32 ? 1 : 0)) >>> 0) * TWO_32 + (sum >>> 0);
  }
  /** Copies between guest memory and bytes of the host, if that is plain RAM that may be accessed; else does nothing. @returns was it done? */
  copy(address: bigint, bytes: Uint8Array, write: boolean): boolean {
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const here = PAGE - (low & (PAGE - 1));
    const pool = this.#ram.pool.bytes;
    const first = this.hostAddress(low, high, write);
    if (first < 0 || bytes.length > here + PAGE) return false;
    const next = (low >>> 0) + here;
    const second =
      bytes.length > here ? this.hostAddress(next | 0, (high + (next >= TWO_32 ? 1 : 0)) | 0, write) : first;
    if (second < 0) return false;
    const size = Math.min(here, bytes.length);
    if (!write) {
      bytes.set(pool.subarray(first, first + size));
      if (size < bytes.length) bytes.set(pool.subarray(second, second + bytes.length - size), size);
    } else if (size === bytes.length) pool.set(bytes, first);
    else {
      pool.set(bytes.subarray(0, size), first);
      pool.set(bytes.subarray(size), second);
    }
    return true;
  }
  /** Guest-physical address of one byte. Throws GuestFault. */
  #translate(low: number, high: number, access: Walk, privilege: Privilege): number {
    if (!isCanonicalHigh(high)) throw new GuestFault(Vector.GP, 0);
    const isSystem = privilege === "system";
    if (!walk(this.#physical, this.mode, high, low, access, this.#user && !isSystem, !isSystem && this.#ac, this.#t))
      this.#fault(low, high);
    return this.#t.gpa;
  }
  /** Checks that [address, +size) may be written. */
  #probe(low: number, high: number, size: number, privilege: Privilege = "current"): void {
    if ((low & (PAGE - 1)) + size <= PAGE && this.#inTlb(low, high, true, privilege) >= 0) return;
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
    const known = this.#inTlb(low, high, false, privilege);
    if (known >= 0) return this.#physical.readFrame(known, size);
    return this.#physical.read(this.#translate(low, high, Walk.READ, privilege), size);
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
    const known = this.#inTlb(low, high, true, privilege);
    if (known >= 0) return this.#physical.writeFrame(known, size, value);
    this.#physical.write(this.#translate(low, high, Walk.WRITE, privilege), size, value);
  }
  /** Does the byte's page lie outside RAM? Throws what a write there would. */
  isDevice(address: bigint): boolean {
    const [low, high] = [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
    return this.#ram.frameAddress(Math.floor(this.#translate(low, high, Walk.WRITE, "current") / PAGE)) < 0;
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
