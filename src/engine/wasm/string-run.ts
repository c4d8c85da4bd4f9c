/* REP MOVS and REP STOS of many elements: copyRun and fillRun of the core module. They do what is sure to go as element by element would: upwards, RAM on both sides, no decoded
 * code written, no overlap that feeds on itself, no element across pages. All else, faults included, is left to the instruction's description, which goes on where they
 * stopped. They know nothing of the guest's registers: what calls them has those in memory (the interpreter) or in locals (regions).
 * @source SDM vol. 2B "MOVS", "STOS", "REP" */
import type { Sem, Size } from "../../isa/sem.ts";
import { FunctionBuilder, type Local } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { type EmitMemory, pushTlbEntry } from "./emit-memory.ts";
import type { Value } from "./emit-values.ts";
import { Engine, Tlb } from "./layout.ts";

const TO = 1;
/** Source address, or the pattern. */
const SOURCE = 2;
const COUNT = 3;
const LOG_SIZE = 4;
const PAGE = 4096;
const RAM = 1;
const [READ, WRITE] = [0, 1];
/** Bytes in one go: interrupts wait no longer than this takes. */
const MOST_BYTES = 65536;
/** From here on the host's own copy and fill are faster than a loop, in spite of the call. */
const LONG = 512;
/** Bytes that take as long as an instruction, as a shift. */
const FUEL_SHIFT = 6n;
const BYTE_IN_EACH = 0x0101_0101_0101_0101n;
/** What is left of a piece after its pieces of 16 bytes: widths with their loads and stores. */
const TAIL = [
  [8, "i64.load", "i64.store"],
  [4, "i64.load32_u", "i64.store32"],
  [2, "i64.load16_u", "i64.store16"],
  [1, "i64.load8_u", "i64.store8"],
] as const;

class RunWriter {
  readonly f = new FunctionBuilder(["i32", "i64", "i64", "i64", "i32"], ["i64"]);
  readonly #refill: number;
  readonly #copies: boolean;
  readonly #shift: Local;
  readonly #left: Local;
  /** Elements of this piece, and its bytes. */
  readonly #n: Local;
  readonly #bytes: Local;
  /** Addresses in the frames memory. */
  readonly #hostTo: Local;
  readonly #hostFrom: Local;

  constructor(refill: number, copies: boolean) {
    this.#refill = refill;
    this.#copies = copies;
    const i64 = (): Local => this.f.local("i64");
    [this.#shift, this.#left, this.#n, this.#bytes, this.#hostTo, this.#hostFrom] = [
      i64(),
      i64(),
      i64(),
      i64(),
      i64(),
      i64(),
    ];
  }

  write(): FunctionBuilder {
    const { f } = this;
    const [shift, left, n, bytes] = [this.#shift, this.#left, this.#n, this.#bytes];
    f.get(LOG_SIZE).op("i64.extend_i32_u").set(shift);
    this.#pushLess(COUNT, () => f.i64(MOST_BYTES).get(shift).op("i64.shr_u"));
    f.tee(COUNT).set(left);
    const out = f.block();
    const again = f.loop();
    f.get(left).set(n);
    for (const address of this.#copies ? [TO, SOURCE] : [TO]) {
      this.#pushLess(n, () =>
        f
          .i64(PAGE)
          .get(address)
          .i64(PAGE - 1)
          .op("i64.and")
          .op("i64.sub")
          .get(shift)
          .op("i64.shr_u"),
      );
      f.set(n);
    }
    f.get(n).op("i64.eqz").brIf(out);
    f.get(n).get(shift).op("i64.shl").set(bytes);
    if (this.#copies) this.#find(SOURCE, READ, this.#hostFrom, out);
    this.#find(TO, WRITE, this.#hostTo, out);
    if (this.#copies) this.#copy(out);
    else this.#fill();
    for (const address of this.#copies ? [TO, SOURCE] : [TO]) f.get(address).get(bytes).op("i64.add").set(address);
    f.get(left).get(n).op("i64.sub").tee(left).op("i64.eqz").op("i32.eqz").brIf(again);
    f.end().end();
    return f.get(COUNT).get(left).op("i64.sub");
  }
  /** Pushes the smaller of a local and what is pushed. */
  #pushLess(local: Local, push: () => void): void {
    const { f } = this;
    const other = f.local("i64");
    push();
    f.tee(other).get(local).get(other).get(local).op("i64.lt_u").op("select");
  }
  /** Sets `host` to where the byte is, or gives up. */
  #find(address: Local, access: number, host: Local, out: number): void {
    const { f } = this;
    const entry = f.local("i32");
    pushTlbEntry(f, () => f.get(address));
    f.tee(entry).memory("i64.load", access === WRITE ? Tlb.WRITE : Tlb.READ);
    f.get(address).i64(-PAGE).op("i64.and").op("i64.ne").likely(false).if();
    f.get(STATE).get(address).i32(access).i32(1).call(this.#refill).brIf(out);
    f.end();
    f.get(entry).memory("i64.load", Tlb.ADDEND).get(address).op("i64.add").set(host);
  }

  #copy(out: number): void {
    const { f } = this;
    const [bytes, to, from] = [this.#bytes, this.#hostTo, this.#hostFrom];
    // 0 < to − from < bytes: what is written would be read again
    f.get(to).get(from).op("i64.sub").i64(1).op("i64.sub").get(bytes).i64(1).op("i64.sub").op("i64.lt_u").brIf(out);
    f.get(bytes).i64(LONG).op("i64.ge_u").if();
    for (const operand of [to, from, bytes]) f.get(operand).ramAddress();
    f.memoryCopy(RAM, RAM);
    f.else();
    this.#pieces(
      () => f.get(to).ramAddress().get(from).ramAddress().memory("v128.load", 0, RAM).memory("v128.store", 0, RAM),
      [to, from],
    );
    for (const [width, load, store] of TAIL) {
      f.get(bytes).i64(width).op("i64.and").op("i64.eqz").op("i32.eqz").if();
      f.get(to).ramAddress().get(from).ramAddress().memory(load, 0, RAM).memory(store, 0, RAM);
      for (const at of [to, from]) f.get(at).i64(width).op("i64.add").set(at);
      f.end();
    }
    f.end();
  }
  #fill(): void {
    const { f } = this;
    const [bytes, to, pattern] = [this.#bytes, this.#hostTo, SOURCE];
    const uniform = (): FunctionBuilder =>
      f.get(pattern).i64(0xff).op("i64.and").i64(BYTE_IN_EACH).op("i64.mul").get(pattern).op("i64.eq");
    f.get(bytes).i64(LONG).op("i64.ge_u");
    uniform().op("i32.and").if();
    f.get(to).ramAddress().get(pattern).op("i32.wrap_i64").get(bytes).ramAddress().memoryFill(RAM);
    f.else();
    this.#pieces(() => f.get(to).ramAddress().get(pattern).op("i64x2.splat").memory("v128.store", 0, RAM), [to]);
    for (const [width, , store] of TAIL) {
      f.get(bytes).i64(width).op("i64.and").op("i64.eqz").op("i32.eqz").if();
      f.get(to).ramAddress().get(pattern).memory(store, 0, RAM);
      f.get(to).i64(width).op("i64.add").set(to).end();
    }
    f.end();
  }
  /** Does 16 bytes after 16 bytes. */
  #pieces(write: () => void, addresses: readonly Local[]): void {
    const { f } = this;
    const rest = f.local("i64");
    f.get(this.#bytes).i64(-16).op("i64.and").tee(rest).op("i64.eqz").op("i32.eqz").if();
    const again = f.loop();
    write();
    for (const at of addresses) f.get(at).i64(16).op("i64.add").set(at);
    f.get(rest).i64(16).op("i64.sub").tee(rest).op("i64.eqz").op("i32.eqz").brIf(again);
    f.end().end();
  }
}

/** The functions copyRun and fillRun (core.ts CORE_FUNCTIONS). @param refill index of that function */
export const copyRun = (refill: number): FunctionBuilder => new RunWriter(refill, true).write();
export const fillRun = (refill: number): FunctionBuilder => new RunWriter(refill, false).write();

/** Bytes that repeat a value of this size, as factor of the value. */
const REPEATS: Record<Size, bigint> = { 1: BYTE_IN_EACH, 2: 0x0001_0001_0001_0001n, 4: 0x1_0000_0001n, 8: 1n };
const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7];

/** Writes the call for the elements that the registers say. @returns how many were done */
export function callRun(e: EmitMemory & Pick<Sem<Value>, "reg">, copies: boolean, size: Size): Value {
  const source = copies ? e.reg(RSI, 8) : e.mul(e.reg(RAX, size), e.const(REPEATS[size]));
  e.f.get(STATE);
  for (const v of [e.reg(RDI, 8), source, e.reg(RCX, 8)]) e.push(v);
  e.f.i32(Math.log2(size)).call(e.imports.function(copies ? "copyRun" : "fillRun"));
  return e.keep("i64");
}
/** Notes the time of a run as fuel that is no instruction. @param bytes local of how many  @returns local of what is to be taken from the fuel */
export function chargeRun(f: FunctionBuilder, bytes: Local): Local {
  const amount = f.local("i32");
  f.get(bytes).i64(FUEL_SHIFT).op("i64.shr_u").op("i32.wrap_i64").set(amount);
  f.get(STATE).get(STATE).memory("i32.load", Engine.REPEATED).get(amount).op("i32.add");
  f.memory("i32.store", Engine.REPEATED);
  return amount;
}
