/* refill (wasm/refill.ts) as native code, so that a TLB miss need not leave: the same steps for what happens all the time. Everything else is left to refill itself: faults, devices,
 * pages and tables that are used or written for the first time, large pages that INVLPG does not know of yet.
 * @source SDM vol. 3A §4.5–4.8; wasm/walk.ts, wasm/refill.ts */
import { Reg, Rflags } from "../../isa/registers.ts";
import { CodeEntry, Tables } from "../../memory/guest-ram.ts";
import { BankSet, Engine, FEW_ENTRIES, LARGE_HALF, Tlb, TLB_ENTRY_BYTES, TLB_OTHER } from "../wasm/layout.ts";
import { Pte } from "../wasm/walk.ts";
import { type Assembler, Cc, Host, memory, register, W } from "./assembler.ts";
import { ADDRESS, INDEX_MASK, INDEX_SHIFT, Info, Native } from "./layout.ts";
import { field, goToTarget, loadSize, RFLAGS, tlbField } from "./operands.ts";

const PAGE = 4096;
const FRAME = 0x3fff_ffff_f000n;
const RESERVED = 0x000f_c000_0000_0000n;
const XD = 1n << 63n;
const EFER_NXE = 1 << 11;
const CR4_SMAP = 1 << 21;
/** No distance of an entry. */
const NO_OTHER = -1;
const LEVELS = [4, 3, 2, 1];
const LARGE = [
  { level: 3, shift: 30, bits: BankSet.LARGE_1G },
  { level: 2, shift: 21, bits: BankSet.LARGE_2M },
] as const;

const { RAX, RCX, RDX, RBX, RSI, RDI } = Host;
const KEPT = [RCX, RDX, RBX, RSI, RDI];

/** What a walk has to know of the host. */
export interface WalkAddresses {
  readonly stateAddress: bigint;
  /** Of GuestRam's tables. */
  readonly tablesAddress: bigint;
  /** Bytes of the code table a frame. */
  readonly codeEntryBytes: number;
}

class PageWalkWriter {
  readonly #a: Assembler;
  readonly #host: WalkAddresses;
  /** Displacements of jumps to the end without success. */
  readonly #failures: number[] = [];

  constructor(a: Assembler, host: WalkAddresses) {
    this.#a = a;
    this.#host = host;
  }
  #failIf(cc: number): void {
    this.#failures.push(this.#a.branchAhead(cc));
  }
  /** RAX: number of the frame behind the guest-physical address in RCX. */
  #findFrame(): void {
    const a = this.#a;
    a.moveRegister(RAX, RCX);
    a.shift(5, register(RAX), 12, true);
    a.op(0x3b, RAX, memory(RDI, Tables.MAP_PAGES), W);
    this.#failIf(Cc.AE);
    a.load32(RAX, memory(RDI, Tables.MAP, RAX, 2));
    a.op(0x85, RAX, register(RAX));
    this.#failIf(Cc.LE);
  }
  /** AND of 64 bits; R13 is lost. */
  #mask(to: number, mask: bigint): void {
    this.#a.moveAddress(ADDRESS, mask);
    this.#a.op(0x21, ADDRESS, register(to), W);
  }

  write(): void {
    const a = this.#a;
    for (const r of KEPT) a.byte(0x50 | r);
    a.load64(RSI, field(Native.ADDRESS));
    this.#checkAccess();
    this.#walk();
    this.#permit();
    this.#findPage();
    this.#enter();
    this.#restore();
    goToTarget(a);
    for (const at of this.#failures) a.bind(at);
    this.#restore();
  }
  #restore(): void {
    for (const r of KEPT.toReversed()) this.#a.byte(0x58 | r);
  }
  #checkAccess(): void {
    const a = this.#a;
    a.arithmetic(7, field(Engine.NO_REFILL), 0, false);
    this.#failIf(Cc.NZ);
    a.moveRegister(RAX, RSI);
    a.shift(4, register(RAX), 16, true);
    a.shift(7, register(RAX), 16, true);
    a.op(0x39, RAX, register(RSI), W);
    this.#failIf(Cc.NZ);
    loadSize(a, RCX);
    a.load32(RAX, register(RSI));
    a.arithmetic(4, register(RAX), PAGE - 1, false);
    a.op(0x03, RAX, register(RCX));
    a.arithmetic(7, register(RAX), PAGE, false);
    this.#failIf(Cc.A);
  }
  /** RCX: the entry that maps the page. RDX: all above it, and-ed. RBX: the page's size − 1. */
  #walk(): void {
    const a = this.#a;
    a.moveAddress(RDI, this.#host.tablesAddress);
    // what must be P and nothing else
    a.moveAddress(RBX, RESERVED | XD | 1n);
    a.test(field(Reg.EFER), EFER_NXE);
    const hasXd = a.branchAhead(Cc.Z);
    a.moveAddress(RBX, RESERVED | 1n);
    a.bind(hasXd);
    a.load64(RCX, field(Reg.CR3));
    this.#mask(RCX, FRAME);
    a.op(0xc7, 0, register(RDX), W);
    a.word(-1);
    const leaves: number[] = [];
    for (const level of LEVELS) {
      this.#findFrame();
      a.shift(4, register(RAX), 12, true);
      a.moveRegister(ADDRESS, RSI);
      a.shift(5, register(ADDRESS), 9 * level, true);
      a.arithmetic(4, register(ADDRESS), 0xff8, false);
      a.op(0x09, ADDRESS, register(RAX), W);
      a.op(0x03, RAX, field(Engine.RAM_HOST), W);
      a.load64(RCX, memory(RAX, 0));
      a.moveRegister(ADDRESS, RCX);
      a.op(0x21, RBX, register(ADDRESS), W);
      a.arithmetic(7, register(ADDRESS), 1);
      this.#failIf(Cc.NZ);
      if (level === 1) break;
      a.test(register(RCX), Pte.PS);
      const large = LARGE.find((each) => each.level === level);
      if (large) {
        const table = a.branchAhead(Cc.Z);
        this.#large(large.shift, large.bits);
        leaves.push(a.jumpAhead());
        a.bind(table);
      } else this.#failIf(Cc.NZ);
      a.op(0x21, RCX, register(RDX), W);
      this.#mask(RCX, FRAME);
    }
    a.moveImmediate32(register(RBX), PAGE - 1);
    for (const at of leaves) a.bind(at);
    a.test(register(RDX), Pte.A);
    this.#failIf(Cc.Z);
    a.op(0x21, RCX, register(RDX), W);
  }
  /** A large page, which INVLPG must know of already. */
  #large(shift: number, bits: number): void {
    const a = this.#a;
    const size = 2 ** shift;
    a.test(register(RCX), (size - 1) & ~0x1fff);
    this.#failIf(Cc.NZ);
    a.moveRegister(ADDRESS, RSI);
    a.shift(5, register(ADDRESS), 63, true);
    a.shift(4, register(ADDRESS), Math.log2(LARGE_HALF));
    a.moveRegister(RAX, RSI);
    a.shift(5, register(RAX), shift, true);
    a.arithmetic(4, register(RAX), LARGE_HALF - 1, false);
    a.op(0x09, ADDRESS, register(RAX));
    this.#loadBankSet(RBX);
    a.load32(ADDRESS, register(RAX));
    a.shift(5, register(ADDRESS), 5);
    a.load32(ADDRESS, memory(RBX, bits, ADDRESS, 2));
    a.op(0x0fa3, RAX, register(ADDRESS)); // bt
    this.#failIf(Cc.AE);
    a.moveImmediate32(register(RBX), size - 1);
  }
  /** Host address of the bank set in force; R13 is lost. */
  #loadBankSet(to: number): void {
    const a = this.#a;
    a.load32(to, field(Engine.BANK_SET));
    a.moveAddress(ADDRESS, this.#host.stateAddress);
    a.op(0x03, to, register(ADDRESS), W);
  }
  /** Rights; and what is marked as used and, for a write, as written. Behind it bit 1 of RDX says whether the page may be written and is marked for it. */
  #permit(): void {
    const a = this.#a;
    a.arithmetic(7, field(Reg.CPL), 3, false);
    const supervisor = a.branchAhead(Cc.NZ);
    a.test(register(RDX), Pte.US);
    this.#failIf(Cc.Z);
    const user = a.jumpAhead();
    a.bind(supervisor);
    a.test(register(RDX), Pte.US);
    const own = a.branchAhead(Cc.Z);
    a.test(field(Reg.CR4), CR4_SMAP);
    const open = a.branchAhead(Cc.Z);
    a.test(RFLAGS, Rflags.AC);
    this.#failIf(Cc.Z);
    for (const at of [user, own, open]) a.bind(at);
    a.test(register(RCX), Pte.A);
    this.#failIf(Cc.Z);
    a.load32(RAX, register(RCX));
    a.shift(5, register(RAX), Math.log2(Pte.D / Pte.RW));
    a.op(0x21, RAX, register(RDX));
    a.test(field(Native.INFO), 1 << Info.WRITE);
    const read = a.branchAhead(Cc.Z);
    a.test(register(RDX), Pte.RW);
    this.#failIf(Cc.Z);
    a.bind(read);
  }
  /** RAX: number of the page's frame. */
  #findPage(): void {
    const a = this.#a;
    this.#mask(RCX, FRAME);
    a.moveRegister(ADDRESS, RBX);
    a.op(0xf7, 2, register(ADDRESS), W); // not
    a.op(0x21, ADDRESS, register(RCX), W);
    a.op(0x21, RSI, register(RBX), W);
    a.op(0x09, RBX, register(RCX), W);
    this.#findFrame();
  }
  /** RBX: the tag for writes; it is one only if no code is known of the frame, and this vCPU is known to write there. */
  #claimWrite(): void {
    const a = this.#a;
    a.test(register(RDX), Pte.RW);
    const readOnly = a.branchAhead(Cc.Z);
    a.op(0x69, RCX, register(RAX)); // imul
    a.word(this.#host.codeEntryBytes);
    a.op(0x03, RCX, memory(RDI, Tables.CODE));
    a.load32(ADDRESS, memory(RDI, CodeEntry.WRITERS, RCX));
    a.op(0x85, ADDRESS, field(Engine.WRITER));
    this.#failIf(Cc.Z);
    a.moveRegister(RBX, RSI);
    a.arithmetic(4, register(RBX), -PAGE);
    a.test(memory(RDI, CodeEntry.HOLDERS, RCX), CodeEntry.HOLDERS_MASK);
    const writable = a.branchAhead(Cc.Z);
    a.bind(readOnly);
    a.test(field(Native.INFO), 1 << Info.WRITE);
    this.#failIf(Cc.NZ);
    a.op(0xc7, 0, register(RBX), W);
    a.word(-1);
    a.bind(writable);
  }
  /** Writes the TLB entry; what is there for another page moves to its other place. */
  #enter(): void {
    const a = this.#a;
    this.#claimWrite();
    a.moveRegister(RDX, RSI);
    a.arithmetic(4, register(RDX), -PAGE);
    a.shift(4, register(RAX), 12, true);
    a.op(0x2b, RAX, register(RDX), W);
    a.load32(RCX, register(RSI));
    a.shift(5, register(RCX), INDEX_SHIFT);
    a.arithmetic(4, register(RCX), INDEX_MASK, false);
    a.load64(ADDRESS, tlbField(Tlb.READ, RCX));
    a.moveImmediate32(register(RSI), NO_OTHER);
    a.arithmetic(7, register(ADDRESS), -1);
    const none = a.branchAhead(Cc.Z);
    a.op(0x39, ADDRESS, register(RDX), W);
    const same = a.branchAhead(Cc.Z);
    a.load32(RSI, register(RCX));
    a.arithmetic(6, register(RSI), TLB_OTHER * TLB_ENTRY_BYTES, false);
    a.store64(tlbField(Tlb.READ, RSI), ADDRESS);
    for (const word of [Tlb.WRITE, Tlb.ADDEND, Tlb.HOST]) {
      a.load64(ADDRESS, tlbField(word, RCX));
      a.store64(tlbField(word, RSI), ADDRESS);
    }
    a.bind(none);
    a.bind(same);
    a.store64(tlbField(Tlb.READ, RCX), RDX);
    a.store64(tlbField(Tlb.WRITE, RCX), RBX);
    a.store64(tlbField(Tlb.ADDEND, RCX), RAX);
    a.op(0x03, RAX, field(Engine.RAM_HOST), W);
    a.store64(tlbField(Tlb.HOST, RCX), RAX);
    this.#record(RCX);
    a.arithmetic(7, register(RSI), NO_OTHER, false);
    const noOther = a.branchAhead(Cc.Z);
    this.#record(RSI);
    a.bind(noOther);
  }
  /** Flushing must know which entries were filled, while they are few. @param entry register with its distance from the bank */
  #record(entry: number): void {
    const a = this.#a;
    this.#loadBankSet(RAX);
    a.load32(RDX, memory(RAX, BankSet.COUNT));
    a.arithmetic(7, register(RDX), FEW_ENTRIES, false);
    const many = a.branchAhead(Cc.AE);
    a.load32(RBX, field(Engine.TLB));
    a.op(0x03, RBX, register(entry));
    a.store32(memory(RAX, BankSet.LIST, RDX, 2), RBX);
    a.bind(many);
    a.arithmetic(0, memory(RAX, BankSet.COUNT), 1, false);
  }
}

/** Writes it. Native.ADDRESS, INFO and TARGET say what is missing. With success it goes to TARGET; else it goes on behind what is written here, with nothing changed but
 *  RAX and R13. */
export function writePageWalk(a: Assembler, host: WalkAddresses): void {
  new PageWalkWriter(a, host).write();
}
