/* The page walk in WebAssembly, for the functions of the core module that translate addresses by themselves (refill.ts, find-block.ts): 4 levels, pages of
 * 4 KiB, 2 MiB and 1 GiB, then the frame through the guest-physical page map. It gives up, with nothing changed, on all that is not simple: faults, devices, frames
 * that are not there yet, tables used for the first time (A clear) and entries that another processor changes meanwhile. The host then does all of it anew.
 * @source SDM vol. 3A §4.5–4.8, as isa/system/paging.ts */
import { Reg } from "../../isa/registers.ts";
import { Tables } from "../../memory/guest-ram.ts";
import type { FunctionBuilder, Local } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { BankSet, Engine, LARGE_HALF } from "./layout.ts";

export const RAM = 1;
export const TABLES = 2;
export const PAGE = 4096;
/** What generated code knows of GuestRam's tables. */
export interface CodeTables {
  /** Size of their memory, in wasm pages. */
  readonly pages: number;
  /** Bytes of the code table a frame. */
  readonly entryBytes: number;
  /** The executor that runs the code. */
  readonly executor: number;
}

const LARGE_PAGES = [
  { level: 3, mask: 0x3fff_ffffn, reserved: 0x3fff_e000n, bits: BankSet.LARGE_1G, shift: 30 },
  { level: 2, mask: 0x1f_ffffn, reserved: 0x1f_e000n, bits: BankSet.LARGE_2M, shift: 21 },
] as const;

/** Bits of a page-table entry. */
export const Pte = { P: 1, RW: 2, US: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const;
const FRAME = 0x3fff_ffff_f000n;
const RESERVED = 0x000f_c000_0000_0000n;
const XD = 1n << 63n;
const EFER_NXE = 1 << 11;

/** Writes a function whose local 0 is the vCPU's area. A step that cannot be done returns `failure`. */
export abstract class WalkWriter {
  readonly f: FunctionBuilder;
  readonly #failure: number;
  /** i64 local: the linear address. */
  protected readonly address: Local;
  /** Guest-physical address of the table, then of the page. */
  readonly #gpa: Local;
  /** i64: the entry that maps the page, and its address in the frames memory. */
  protected readonly entry: Local;
  readonly #at: Local;
  /** i64: all entries above it, and-ed; or-ed with it, too, for XD. */
  readonly #walked: Local;
  readonly #either: Local;
  /** Bits that must be P and nothing else. */
  readonly #checked: Local;
  /** i64: page size − 1. */
  protected readonly mask: Local;
  /** i32: number of the frame. */
  protected readonly frame: Local;
  /** i32: low half of all entries together: RW and US. */
  protected readonly rights: Local;
  /** i32: low half of the entry, with A and D as they are now. */
  protected readonly low: Local;

  constructor(f: FunctionBuilder, address: Local | undefined, failure: number) {
    this.f = f;
    this.#failure = failure;
    const [i32, i64] = [(): Local => f.local("i32"), (): Local => f.local("i64")];
    this.address = address ?? i64();
    [this.#gpa, this.entry, this.#at, this.#walked] = [i64(), i64(), i64(), i64()];
    [this.#either, this.#checked, this.mask] = [i64(), i64(), i64()];
    [this.frame, this.rights, this.low] = [i32(), i32(), i32()];
  }

  /** Gives up if the condition on the stack holds. */
  protected giveUpIf(): void {
    this.f.if();
    this.f.i32(this.#failure).op("return").end();
  }
  /** The entry at hand is not present, or has a reserved bit: about to give up. */
  protected notMapped(): void {}
  protected field(offset: number): FunctionBuilder {
    return this.f.get(STATE).memory("i32.load", offset);
  }
  /** One bit of a register, as 0 or 1. */
  protected bit(register: number, mask: number): FunctionBuilder {
    return this.field(register).i32(Math.log2(mask)).op("i32.shr_u").i32(1).op("i32.and");
  }
  /** Pushes whether the address is not canonical. */
  protected pushNotCanonical(): FunctionBuilder {
    const { f, address } = this;
    return f.get(address).i64(16).op("i64.shl").i64(16).op("i64.shr_s").get(address).op("i64.ne");
  }

  /** Sets FRAME to the number of the frame behind a guest-physical address. */
  #findFrame(): void {
    const { f, frame } = this;
    const gpa = this.#gpa;
    f.get(gpa).i64(12).op("i64.shr_u").i32(0).memory("i64.load", Tables.MAP_PAGES, TABLES).op("i64.ge_u");
    this.giveUpIf();
    f.get(gpa).i64(10).op("i64.shr_u").op("i32.wrap_i64").i32(-4).op("i32.and");
    f.memory("i32.load", Tables.MAP, TABLES).tee(frame).i32(0).op("i32.le_s");
    this.giveUpIf();
  }
  /** Pushes the address of FRAME's entry in the code table. */
  protected pushCodeEntry({ entryBytes }: CodeTables): FunctionBuilder {
    const { f } = this;
    return f.get(this.frame).i32(entryBytes).op("i32.mul").i32(0).memory("i32.load", Tables.CODE, TABLES).op("i32.add");
  }
  protected pushFrameAddress(): FunctionBuilder {
    return this.f.get(this.frame).op("i64.extend_i32_u").i64(12).op("i64.shl");
  }

  /** To the entry that maps the page. @param looksAtXd no entry may have XD */
  protected walk(looksAtXd: boolean): void {
    const { f, entry } = this;
    f.get(STATE).memory("i64.load", Reg.CR3).i64(FRAME).op("i64.and").set(this.#gpa);
    f.i64(RESERVED | 1n).i64(RESERVED | XD | 1n);
    this.field(Reg.EFER).i32(EFER_NXE).op("i32.and").op("select").set(this.#checked);
    f.i64(-1).set(this.#walked);
    const leaf = f.block();
    for (let level = 4; level >= 1; level--) {
      this.#findFrame();
      this.pushFrameAddress();
      f.get(this.address)
        .i64(9 * level)
        .op("i64.shr_u")
        .i64(0xff8)
        .op("i64.and")
        .op("i64.or");
      f.tee(this.#at)
        .ramAddress()
        .memory("i64.load", 0, RAM)
        .tee(entry)
        .get(this.#checked)
        .op("i64.and")
        .i64(Pte.P)
        .op("i64.ne")
        .if();
      this.notMapped();
      f.i32(this.#failure).op("return").end();
      if (looksAtXd) f.get(this.#either).get(entry).op("i64.or").set(this.#either);
      if (level > 1) this.#largePage(level, leaf);
    }
    f.i64(PAGE - 1).set(this.mask);
    f.end();
    f.get(this.#walked).i64(Pte.A).op("i64.and").op("i64.eqz");
    if (looksAtXd) f.get(this.#either).i64(63).op("i64.shr_u").op("i32.wrap_i64").op("i32.or");
    this.giveUpIf();
    f.get(this.#walked).get(entry).op("i64.and").op("i32.wrap_i64").set(this.rights);
  }
  /** Is the entry a page's? Else on to the next table. */
  #largePage(level: number, leaf: number): void {
    const { f, entry } = this;
    const large = LARGE_PAGES.find((page) => page.level === level);
    f.get(entry).i64(Pte.PS).op("i64.and").op("i32.wrap_i64").if();
    if (large) {
      f.get(entry).i64(large.reserved).op("i64.and").op("i64.eqz").op("i32.eqz");
      this.giveUpIf();
      f.i64(large.mask).set(this.mask).br(leaf);
    } else f.i32(this.#failure).op("return");
    f.end();
    f.get(this.#walked).get(entry).op("i64.and").set(this.#walked);
    f.get(entry).i64(FRAME).op("i64.and").set(this.#gpa);
  }

  /** A, and D for a write, in the entry. @param pushWrite pushes 0 or 1 */
  protected markUsed(pushWrite: () => void): void {
    const { f, low } = this;
    const wanted = f.local("i32");
    f.get(this.entry).op("i32.wrap_i64").tee(low);
    pushWrite();
    f.i32(Math.log2(Pte.D)).op("i32.shl").i32(Pte.A).op("i32.or").op("i32.or").tee(wanted).get(low).op("i32.ne").if();
    f.get(this.#at).ramAddress().get(low).get(wanted).memory("i32.atomic.rmw.cmpxchg", 0, RAM, 2).get(low).op("i32.ne");
    this.giveUpIf();
    f.get(wanted).set(low).end();
  }
  /** Sets FRAME to the page's. */
  protected findPage(): void {
    const { f, mask } = this;
    f.get(this.entry).i64(FRAME).op("i64.and").get(mask).i64(-1).op("i64.xor").op("i64.and");
    f.get(this.address).get(mask).op("i64.and").op("i64.or").set(this.#gpa);
    this.#findFrame();
  }
  /** INVLPG must know of large pages. */
  protected noteLarge(): void {
    const { f, address } = this;
    const [bit, at] = [f.local("i32"), f.local("i32")];
    f.get(this.mask)
      .i64(PAGE - 1)
      .op("i64.ne")
      .if();
    this.field(Engine.BANK_SET).tee(at).i32(1).memory("i32.store", BankSet.HAS_LARGE);
    for (const { mask, bits, shift } of LARGE_PAGES) {
      f.get(this.mask).i64(mask).op("i64.eq").if();
      f.get(address)
        .i64(shift)
        .op("i64.shr_u")
        .op("i32.wrap_i64")
        .i32(LARGE_HALF - 1)
        .op("i32.and");
      f.get(address).i64(63).op("i64.shr_u").op("i32.wrap_i64").i32(LARGE_HALF).op("i32.mul").op("i32.or").tee(bit);
      f.i32(5).op("i32.shr_u").i32(2).op("i32.shl").get(at).op("i32.add").tee(at);
      f.get(at).memory("i32.load", bits).i32(1).get(bit).op("i32.shl").op("i32.or").memory("i32.store", bits).end();
    }
    f.end();
  }
}
