/* refill: the TLB's miss path in WebAssembly: fills the current bank's entry as Mmu.fill does, or leaves it to the host: what walk.ts gives up on, writes to pages
 * with code, accesses that cross pages, alignment checks and data breakpoints (NO_REFILL). It raises nothing and needs no decoded entry, so that code with the guest's
 * registers in locals may call it anywhere; a #PF that is sure it notes in Engine.FAULT, for its caller to deliver or to forget. @source SDM vol. 3A §4.6, §4.7 */
import { Reg, Rflags } from "../../isa/registers.ts";
import { CodeEntry } from "../../memory/guest-ram.ts";
import { FunctionBuilder, type Local } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { pushTlbEntry } from "./emit-memory.ts";
import { BankSet, Engine, FAULT_PENDING, FEW_ENTRIES, Tlb, TLB_ENTRY_BYTES, TLB_OTHER } from "./layout.ts";
import { type CodeTables, PAGE, Pte, TABLES, WalkWriter } from "./walk.ts";

const ADDRESS = 1;
const ACCESS = 2;
const SIZE = 3;
const CR0_WP = 1 << 16;
const CR4_SMAP = 1 << 21;

class RefillWriter extends WalkWriter {
  readonly #tables: CodeTables;
  readonly #keepsOld: boolean;

  constructor(tables: CodeTables, keepsOld: boolean) {
    super(new FunctionBuilder(["i32", "i64", "i32", "i32"], ["i32"]), ADDRESS, 1);
    this.#tables = tables;
    this.#keepsOld = keepsOld;
  }

  write(): FunctionBuilder {
    const { f } = this;
    f.get(STATE).i32(0).memory("i32.store", Engine.FAULT);
    this.field(Engine.NO_REFILL);
    f.get(ADDRESS)
      .op("i32.wrap_i64")
      .i32(PAGE - 1)
      .op("i32.and")
      .get(SIZE)
      .op("i32.add")
      .i32(PAGE)
      .op("i32.gt_u");
    f.op("i32.or");
    this.pushNotCanonical().op("i32.or");
    this.giveUpIf();
    this.walk(false);
    this.#permit();
    this.markUsed(() => f.get(ACCESS));
    this.findPage();
    this.#enter();
    return f.i32(0);
  }

  #permit(): void {
    const { f, rights } = this;
    const required = f.local("i32");
    this.field(Reg.CPL).i32(3).op("i32.eq").if("i32");
    f.get(ACCESS).i32(1).op("i32.shl").i32(Pte.US).op("i32.or");
    f.else();
    f.get(rights).i32(Math.log2(Pte.US)).op("i32.shr_u");
    this.bit(Reg.CR4, CR4_SMAP).op("i32.and");
    this.bit(Reg.RFLAGS, Rflags.AC).op("i32.eqz").op("i32.and").if();
    this.#fault(Pte.P);
    f.i32(1).op("return").end();
    this.bit(Reg.CR0, CR0_WP).get(ACCESS).op("i32.and").i32(1).op("i32.shl");
    f.end().tee(required).get(rights).op("i32.and").get(required).op("i32.ne").if();
    this.#fault(Pte.P);
    f.i32(1).op("return").end();
  }
  protected override notMapped(): void {
    const { f } = this;
    f.get(this.entry).op("i32.wrap_i64").i32(Pte.P).op("i32.and").op("i32.eqz").if();
    this.#fault(0);
    f.end();
  }
  /** Notes the #PF. @param present error code bit P  @source SDM vol. 3A §4.7 */
  #fault(present: number): void {
    const { f } = this;
    f.get(STATE).get(ADDRESS).memory("i64.store", Engine.FAULT_ADDRESS);
    f.get(STATE).get(ACCESS).i32(1).op("i32.shl");
    this.field(Reg.CPL).i32(3).op("i32.eq").i32(2).op("i32.shl").op("i32.or");
    f.i32(FAULT_PENDING | present)
      .op("i32.or")
      .memory("i32.store", Engine.FAULT);
  }

  /** Writes the TLB entry: for writes too if the page is known to be dirty and writable, unless code was decoded from it. */
  #enter(): void {
    const { f } = this;
    const [writable, entry, page, addend] = [f.local("i32"), f.local("i32"), f.local("i64"), f.local("i64")];
    this.#claimWrite(writable);
    f.get(writable).op("i32.eqz").get(ACCESS).op("i32.and");
    this.giveUpIf();
    pushTlbEntry(f, () => f.get(ADDRESS));
    f.set(entry);
    f.get(ADDRESS).i64(-PAGE).op("i64.and").set(page);
    if (this.#keepsOld) this.#keepOld(entry, page);
    f.get(entry).get(page).memory("i64.store", Tlb.READ);
    f.get(entry).get(page).i64(-1).get(writable).op("select").memory("i64.store", Tlb.WRITE);
    f.get(entry);
    this.pushFrameAddress().get(page).op("i64.sub").tee(addend).memory("i64.store", Tlb.ADDEND);
    f.get(entry).get(addend).get(STATE).memory("i64.load", Engine.RAM_HOST).op("i64.add").memory("i64.store", Tlb.HOST);
    this.#record(entry);
    this.noteLarge();
  }
  /** What is there for another page moves to its other place. */
  #keepOld(entry: Local, page: Local): void {
    const { f } = this;
    const [old, other] = [f.local("i64"), f.local("i32")];
    f.get(entry)
      .memory("i64.load", Tlb.READ)
      .tee(old)
      .i64(-1)
      .op("i64.ne")
      .get(old)
      .get(page)
      .op("i64.ne")
      .op("i32.and");
    f.if();
    this.field(Engine.TLB);
    f.get(entry);
    this.field(Engine.TLB)
      .op("i32.sub")
      .i32(TLB_OTHER * TLB_ENTRY_BYTES)
      .op("i32.xor")
      .op("i32.add")
      .set(other);
    f.get(other).get(old).memory("i64.store", Tlb.READ);
    for (const word of [Tlb.WRITE, Tlb.ADDEND, Tlb.HOST])
      f.get(other).get(entry).memory("i64.load", word).memory("i64.store", word);
    this.#record(other);
    f.end();
  }
  /** Sets `writable` if the entry is to be for writes, and may be: GuestRam.claimWrite. */
  #claimWrite(writable: Local): void {
    const { f } = this;
    const code = f.local("i32");
    f.get(this.low).i32(Pte.D).op("i32.and").op("i32.eqz").op("i32.eqz");
    f.get(this.rights).i32(Pte.RW).op("i32.and").op("i32.eqz").op("i32.eqz").op("i32.and");
    f.get(ACCESS).op("i32.or").tee(writable).if();
    this.pushCodeEntry(this.#tables).tee(code).memory("i32.load", CodeEntry.WRITERS, TABLES);
    this.field(Engine.WRITER).op("i32.and").op("i32.eqz").if();
    f.get(code);
    this.field(Engine.WRITER).memory("i32.atomic.rmw.or", CodeEntry.WRITERS, TABLES, 2).op("drop").end();
    f.get(code).memory("i32.atomic.load", CodeEntry.HOLDERS, TABLES, 2).i32(CodeEntry.HOLDERS_MASK).op("i32.and");
    f.op("i32.eqz").set(writable).end();
  }
  /** Flushing must know which entries were filled, while they are few. */
  #record(entry: Local): void {
    const { f } = this;
    const [set, count] = [f.local("i32"), f.local("i32")];
    this.field(Engine.BANK_SET).tee(set).memory("i32.load", BankSet.COUNT).tee(count).i32(FEW_ENTRIES).op("i32.lt_u");
    f.if();
    f.get(set).get(count).i32(2).op("i32.shl").op("i32.add").get(entry).memory("i32.store", BankSet.LIST).end();
    f.get(set).get(count).i32(1).op("i32.add").memory("i32.store", BankSet.COUNT);
  }
}

/** The function refill (core.ts CORE_FUNCTIONS). */
export const refill = (tables: CodeTables, native: boolean): FunctionBuilder =>
  new RefillWriter(tables, native).write();

/** No addend: those are multiples of the page size. */
export const NO_ADDEND = 1;
/** Leaves 1 where the entry is not for a page that the whole access lies in. @param pushTag pushes Tlb.READ or Tlb.WRITE */
function pushMiss(f: FunctionBuilder, at: { entry: Local; address: Local; size: Local }, pushTag: () => void): void {
  f.get(at.entry);
  pushTag();
  f.op("i32.add").memory("i64.load");
  f.get(at.address).get(at.size).op("i64.extend_i32_u").op("i64.add").i64(1).op("i64.sub").i64(-PAGE).op("i64.and");
  f.op("i64.ne");
}
/** The function pageAddend (core.ts CORE_FUNCTIONS): a probe that is called, for accesses whose page is most often at hand. @param refill index of that function */
export function pageAddend(refill: number): FunctionBuilder {
  const f = new FunctionBuilder(["i32", "i64", "i32", "i32"], ["i64"]);
  const entry = f.local("i32");
  pushTlbEntry(f, () => f.get(ADDRESS));
  f.set(entry);
  pushMiss(f, { entry, address: ADDRESS, size: SIZE }, () => f.get(ACCESS).i32(Tlb.WRITE).op("i32.mul"));
  f.if();
  f.get(0).get(ADDRESS).get(ACCESS).get(SIZE).call(refill).if();
  f.i64(NO_ADDEND).op("return").end().end();
  return f.get(entry).memory("i64.load", Tlb.ADDEND);
}
/** The function stretchAddend (core.ts CORE_FUNCTIONS). @param refill index of that function */
export function stretchAddend(refill: number): FunctionBuilder {
  const [state, region, address, size] = [0, 1, 2, 3];
  const f = new FunctionBuilder(["i32", "i32", "i64", "i32"], ["i64"]);
  const entry = f.local("i32");
  const miss = (): void => pushMiss(f, { entry, address, size }, () => f.i32(Tlb.WRITE));
  pushTlbEntry(f, () => f.get(address));
  f.set(entry);
  miss();
  f.if();
  // as for reading: a page that is written for the first time is marked by the access itself
  f.get(state).get(address).i32(0).get(size).call(refill).if("i32");
  f.i32(1).else();
  miss();
  f.end().if();
  f.get(state).get(region).memory("i32.store", Engine.CROSSING);
  f.get(state).i32(0).memory("i32.store", Engine.FAULT); // of an access that the instruction may not make
  f.i64(NO_ADDEND).op("return").end().end();
  return f.get(entry).memory("i64.load", Tlb.ADDEND);
}
