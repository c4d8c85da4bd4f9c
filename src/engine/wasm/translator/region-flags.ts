/* Second layer of the translator's Sem<V>: arithmetic flags. Instead of the lazy pair of isa/flags.ts, which takes some ten operations to make, a region keeps the
 * operands of the last instruction that set flags, and the kind of that instruction; where the kind is known while translating, a condition is one
 * comparison of the operands. The pair is made where the region is left, or where something unusual is asked.
 * Which operands there are for each kind: flags-code.ts.
 *
 * The local `fk` holds the code of both (flagsCode) wherever it is not known while translating, and at every exit. */
import type { DerivedKind, FlagKind, FlagName, Size } from "../../../isa/sem.ts";
import { Reg } from "../../../isa/registers.ts";
import { derivedFlags, isDerived, rotatedFlags } from "../../../isa/sem/derived-flags.ts";
import { COMI_FLAGS } from "../../../isa/sem/sse-convert.ts";
import type { FunctionBuilder, Local } from "../../../wasm/function.ts";
import type { Imports } from "../emit-memory.ts";
import type { Value } from "../emit-values.ts";
import {
  DERIVED,
  derivedResult,
  FlagsCode,
  flagsCode,
  FlagsKind,
  flagsKindOf,
  KIND_OF_DERIVED,
  Over,
  overCode,
} from "./flags-code.ts";
import { bitsOf, RegionState, type KnownValue } from "./region-state.ts";
import type { RegionOptions } from "./region-options.ts";

/** What is known of the flags at a point of the code. */
export interface FlagsState {
  /** flagsCode; undefined: whatever `fk` says. */
  readonly code: number | undefined;
  /** fb's value, if it is a constant. */
  readonly b: bigint | undefined;
  /** What the local `fk` holds; undefined: unknown. */
  readonly local: number | undefined;
}
/** RFLAGS bits of an order. @source SDM vol. 2A "COMISD" */
export const orderFlags = (
  e: {
    and(a: Value, b: Value): Value;
    shrU(a: Value, n: Value): Value;
    shl(a: Value, n: Value): Value;
    const(n: number): Value;
  },
  order: Value,
): Value => e.and(e.shrU(e.const(COMI_FLAGS), e.shl(order, e.const(3))), e.const(0xff));
/** Conditions that only the result decides: ZF, SF, PF. */
const RESULT_CONDITIONS: ReadonlySet<number> = new Set([4, 8, 10]);
export const UNKNOWN_FLAGS: FlagsState = { code: undefined, b: undefined, local: undefined };

export abstract class RegionFlags extends RegionState {
  readonly fk: Local;
  readonly fa: Local;
  readonly fb: Local;
  readonly fr: Local;
  readonly fx: Local;
  /** The region uses fx. */
  usesOver = false;
  flagsState: FlagsState = UNKNOWN_FLAGS;
  /** The last sum and difference, to tell an addition from one with carry. */
  #sum: { result: Value; a: Value; b: Value } | undefined;

  constructor(f: FunctionBuilder, imports: Imports, options: RegionOptions, wideRam: boolean) {
    super(f, imports, options, wideRam);
    this.fk = f.local("i32");
    this.fa = f.local("i64");
    this.fb = f.local("i64");
    this.fr = f.local("i64");
    this.fx = f.local("i64");
  }

  syncFlagKind(): void {
    const { code, local, b } = this.flagsState;
    if (code === undefined || code === local) return;
    this.f.i32(code).set(this.fk);
    this.flagsState = { code, b, local: code };
  }
  protected get unwrittenFlagKind(): number | undefined {
    const { code, local } = this.flagsState;
    return code === local ? undefined : code;
  }
  protected setFlagKind(): void {
    this.f.set(this.fk);
  }
  #become(kind: number, size: Size, b?: bigint): void {
    this.registerEffects++;
    this.flagsState = { code: flagsCode(kind, size), b, local: this.flagsState.local };
  }
  #keepIn(local: Local, v: Value): void {
    this.push(v);
    this.f.set(local);
  }

  override add(a: Value, b: Value): Value {
    const result = super.add(a, b);
    this.#sum = { result, a, b };
    return result;
  }
  override sub(a: Value, b: Value): Value {
    const result = super.sub(a, b);
    this.#sum = { result, a, b };
    return result;
  }

  override flags(kind: FlagKind, a: Value, b: Value, result: Value, size: Size = this.size): void {
    if (!this.options.passes.fusedConditions) {
      super.flags(kind, a, b, result, size);
      return;
    }
    if (kind === "logic") {
      this.#keepIn(this.fa, this.zext(result, size));
      this.#become(FlagsKind.LOGIC, size);
      return;
    }
    if (kind === "inc" || kind === "dec") {
      const cf = this.flag("CF"); // of the instruction before
      this.#keepIn(this.fb, cf);
      this.#keepIn(this.fa, this.zext(a, size));
      this.#become(kind === "inc" ? FlagsKind.INC : FlagsKind.DEC, size);
      return;
    }
    if (isDerived(kind)) {
      this.#keepIn(this.fa, a);
      this.#keepIn(this.fb, b);
      return this.#become(KIND_OF_DERIVED[kind], size, b.constant);
    }
    const sum = this.#sum;
    const plain = sum !== undefined && sum.result === result && sum.a === a && sum.b === b;
    const second = this.zext(b, size);
    this.#keepIn(this.fa, this.zext(a, size));
    this.#keepIn(this.fb, second);
    if (!plain) this.#keepIn(this.fr, result);
    const code = kind === "add" ? (plain ? FlagsKind.ADD : FlagsKind.ADC) : plain ? FlagsKind.SUB : FlagsKind.SBB;
    this.#become(code, size, second.constant);
  }

  override rotateFlags(left: boolean, result: Value): void {
    if (!this.options.passes.fusedConditions) return super.rotateFlags(left, result);
    this.#comeOver(left ? Over.LEFT : Over.RIGHT, this.zext(result, this.size));
  }
  override setFlags(flags: Partial<Record<FlagName, Value>>): void {
    const { code } = this.flagsState;
    const over = code === undefined ? undefined : flagsKindOf(code).over;
    // OF of a rotation would be lost
    const simple = over === Over.NONE || over === Over.CARRY;
    const onlyCarry = flags.CF !== undefined && Object.keys(flags).length === 1;
    if (!simple || !onlyCarry || !this.options.passes.fusedConditions) return super.setFlags(flags);
    this.#comeOver(Over.CARRY, flags.CF!);
  }
  /** CF (and OF) are others from now on. @param v for fx, zero-extended */
  #comeOver(over: number, v: Value): void {
    this.usesOver = true;
    this.registerEffects++;
    this.#keepIn(this.fx, v);
    const code = overCode(over, this.size);
    const state = this.flagsState;
    if (state.code !== undefined) this.flagsState = { ...state, code: (state.code & FlagsCode.KIND) | code };
    else this.f.get(this.fk).i32(FlagsCode.KIND).op("i32.and").i32(code).op("i32.or").set(this.fk);
  }

  /** Flags of COMISx by order, as RFLAGS bits, one byte each. @source isa/sem/sse-convert.ts */
  protected order: Value | undefined;
  override writeFlags(v: Value): void {
    if (this.order === undefined || !this.options.passes.fusedConditions) return super.writeFlags(v);
    this.#keepIn(this.fa, this.order);
    this.order = undefined;
    this.#become(FlagsKind.ORDER, 8);
  }

  // ——— the lazy pair, for all that is not shortened ———
  override field(offset: number, size: 4 | 8): Value {
    if (offset !== Reg.FLAG_RESULT && offset !== Reg.FLAG_AUX) return super.field(offset, size);
    this.makePair();
    this.f.get(offset === Reg.FLAG_RESULT ? this.fa : this.fb);
    return this.keep("i64");
  }
  /** The result comes before aux: see EmitFlags. */
  override setField(offset: number, size: 4 | 8, v: Value): void {
    if (offset === Reg.FLAG_RESULT) this.#keepIn(this.fa, v);
    else if (offset === Reg.FLAG_AUX) {
      this.#keepIn(this.fb, v);
      this.#become(FlagsKind.PAIR, 8);
    } else {
      if (offset < Reg.X87_VALUE || offset > Reg.X87_DONE) this.registerEffects++;
      super.setField(offset, size, v);
    }
  }
  /** fa and fb become the lazy pair. No effect for the guest. */
  makePair(): void {
    const { code } = this.flagsState;
    if (code === FlagsKind.PAIR) return;
    const effects = this.registerEffects;
    if (code === undefined) this.#makePairByKind();
    else {
      this.#makePairOf(code & FlagsCode.KIND);
      const over = this.#carryOver(code);
      if (over !== undefined) super.setFlags(over);
    }
    this.registerEffects = effects;
  }
  #callByKind(name: string): void {
    this.usesOver = true;
    this.f.get(this.fk).get(this.fa).get(this.fb).get(this.fr).get(this.fx).call(this.imports.function(name));
  }
  #makePairByKind(): void {
    for (const name of ["flagsResult", "flagsAux"]) this.#callByKind(name);
    this.f.set(this.fb).set(this.fa).i32(FlagsKind.PAIR).set(this.fk);
    this.flagsState = { code: FlagsKind.PAIR, b: undefined, local: FlagsKind.PAIR };
  }
  #copy(local: Local): Value {
    this.f.get(local);
    return this.keep("i64");
  }
  #makePairOf(code: number): void {
    const { kind, size } = flagsKindOf(code);
    const [a, b] = [this.#copy(this.fa), this.#copy(this.fb)];
    const one = this.const(1);
    switch (kind) {
      case FlagsKind.PAIR:
        return this.#become(FlagsKind.PAIR, 8);
      case FlagsKind.SHL:
      case FlagsKind.SHR:
      case FlagsKind.SAR:
      case FlagsKind.IMUL:
        return super.flags(DERIVED[kind], a, b, derivedResult(this, DERIVED[kind], a, b, size), size);
      case FlagsKind.LOGIC:
        return super.flags("logic", a, a, a, size);
      case FlagsKind.ADD:
        return super.flags("add", a, b, super.add(a, b), size);
      case FlagsKind.SUB:
        return super.flags("sub", a, b, super.sub(a, b), size);
      case FlagsKind.ORDER:
        return super.writeFlags(orderFlags(this, a));
      case FlagsKind.ADC:
        return super.flags("add", a, b, this.#copy(this.fr), size);
      case FlagsKind.SBB:
        return super.flags("sub", a, b, this.#copy(this.fr), size);
      default:
        if (kind === FlagsKind.INC) super.flags("add", a, one, super.add(a, one), size);
        else super.flags("sub", a, one, super.sub(a, one), size);
        super.setFlags({ CF: b });
    }
  }

  /** CF and OF that are not the others'. */
  #carryOver(code: number): { CF: Value; OF?: Value } | undefined {
    const { over, overSize } = flagsKindOf(code);
    if (over === Over.NONE) return undefined;
    const fx = this.#copy(this.fx);
    if (over === Over.CARRY) return { CF: fx };
    return rotatedFlags(this, over === Over.LEFT, fx, overSize);
  }

  // ——— conditions ———
  #a(size: Size): KnownValue {
    return this.known(this.fa, 8 * size);
  }
  #b(size: Size): Value {
    const { b } = this.flagsState;
    return b === undefined ? this.known(this.fb, 8 * size) : this.const(b);
  }
  override flag(name: FlagName): Value {
    const cc = { OF: 0, CF: 2, ZF: 4, SF: 8, PF: 10, AF: -1 }[name];
    const short = cc >= 0 ? this.#short(cc) : undefined;
    if (short !== undefined || name !== "CF" || this.flagsState.code !== undefined) return short ?? super.flag(name);
    // INC and DEC ask often: the flags stay what they are
    this.#callByKind("flagsAux");
    this.f.i64(63).op("i64.shr_u");
    return Object.assign(this.keep("i64"), { bits: 1 });
  }
  override cond(cc: number): Value {
    const positive = this.#short(cc & ~1);
    if (positive === undefined) return super.cond(cc);
    return cc & 1 ? this.isZero(positive) : positive;
  }
  /** The condition (even cc) from the operands; undefined where the pair has to be made. */
  #short(cc: number): Value | undefined {
    const { code } = this.flagsState;
    if (code === undefined) return undefined;
    const { kind, size, over } = flagsKindOf(code);
    if (over !== Over.NONE && !RESULT_CONDITIONS.has(cc)) {
      if (cc === 2) return this.ne(this.#carryOver(code)!.CF, this.const(0));
      return undefined;
    }
    switch (kind) {
      case FlagsKind.SUB:
        return this.#ofDifference(cc, size);
      case FlagsKind.ADC:
      case FlagsKind.SBB:
        return this.#withCarry(cc, size, kind === FlagsKind.SBB);
      case FlagsKind.SHL:
      case FlagsKind.SHR:
      case FlagsKind.SAR:
      case FlagsKind.IMUL:
        return this.#ofDerived(cc, size, DERIVED[kind]);
      case FlagsKind.LOGIC:
        return this.#ofLogic(cc, size);
      case FlagsKind.ORDER:
        return this.#ofOrder(cc);
      case FlagsKind.ADD:
        return this.#ofSum(cc, size, super.add(this.#a(size), this.#b(size)));
      case FlagsKind.INC:
      case FlagsKind.DEC: {
        if (cc === 2) return this.ne(this.known(this.fb, 1), this.const(0));
        const one = this.const(1);
        return this.#ofResult(
          cc,
          size,
          kind === FlagsKind.INC ? super.add(this.#a(size), one) : super.sub(this.#a(size), one),
        );
      }
      default:
        return undefined;
    }
  }
  /** CF is set for less, ZF for equal, both and PF for unordered; OF and SF are clear. */
  #ofOrder(cc: number): Value {
    const orders = { 2: 0b1001, 4: 0b1010, 6: 0b1011, 10: 0b1000, 14: 0b1010 }[cc] ?? 0;
    return this.ne(this.and(this.shrU(this.const(orders), this.known(this.fa, 2)), this.const(1)), this.const(0));
  }
  #negative(v: Value, size: Size): Value {
    return this.ltS(this.sext(v, size), this.const(0));
  }
  #evenParity(v: Value): Value {
    return this.isZero(this.and(this.popcnt(this.and(v, this.const(0xff))), this.const(1)));
  }
  /** Z, S and P. */
  #ofResult(cc: number, size: Size, r: Value): Value | undefined {
    if (cc === 4) return this.isZero(this.zext(r, size));
    if (cc === 8) return this.#negative(r, size);
    return cc === 10 ? this.#evenParity(r) : undefined;
  }
  #ofDifference(cc: number, size: Size): Value | undefined {
    const [a, b] = [this.#a(size), this.#b(size)];
    switch (cc) {
      case 2:
        return this.ltU(a, b);
      case 4:
        return this.eq(a, b);
      case 6:
        return this.isZero(this.ltU(b, a));
      case 12:
        return this.ltS(this.sext(a, size), this.sext(b, size));
      case 14:
        return this.isZero(this.ltS(this.sext(b, size), this.sext(a, size)));
      default:
        return this.#ofResult(cc, size, super.sub(a, b));
    }
  }
  #ofSum(cc: number, size: Size, r: Value): Value | undefined {
    if (cc === 2) return this.ltU(this.zext(r, size), this.#a(size));
    return this.#ofResult(cc, size, r);
  }
  /** ADC and SBB: carries by the formulas of isa/flags.ts. */
  #withCarry(cc: number, size: Size, borrows: boolean): Value | undefined {
    const [a, b, r] = [this.#copy(this.fa), this.#copy(this.fb), this.#copy(this.fr)];
    const differ = this.xor(a, b);
    if (cc === 2) {
      const minusOne = this.const(-1);
      const carries = borrows
        ? this.or(this.and(this.xor(a, minusOne), b), this.and(this.xor(differ, minusOne), r))
        : this.or(this.and(a, b), this.and(this.or(a, b), this.xor(r, minusOne)));
      return this.#negative(carries, size);
    }
    // SF ^ OF
    if (cc === 12 && borrows) return this.#negative(this.xor(r, this.and(differ, this.xor(a, r))), size);
    return this.#ofResult(cc, size, r);
  }
  #ofDerived(cc: number, size: Size, kind: DerivedKind): Value | undefined {
    const [a, b] = [this.#copy(this.fa), this.flagsState.b === undefined ? this.#copy(this.fb) : this.#b(size)];
    if (cc !== 0 && cc !== 2 && !RESULT_CONDITIONS.has(cc)) return undefined;
    const result = derivedResult(this, kind, a, b, size);
    if (cc !== 0 && cc !== 2) return this.#ofResult(cc, size, result);
    const { CF, OF } = derivedFlags(this, kind, a, b, result, size);
    return this.ne(this.zext(cc === 0 ? OF : CF, 8), this.const(0));
  }
  #ofLogic(cc: number, size: Size): Value | undefined {
    const r = this.#a(size);
    if (cc === 0 || cc === 2) return this.ne(this.const(0), this.const(0));
    if (cc === 6) return this.isZero(r);
    if (cc === 12) return this.#negative(r, size);
    if (cc === 14) return this.isZero(this.ltS(this.const(0), this.sext(r, size)));
    return this.#ofResult(cc, size, r);
  }

  // ——— what is known of widths ———
  override zext(a: Value, size: Size): Value {
    if (a.constant === undefined && a.type === "i64" && bitsOf(a) <= 8 * size) return a;
    const v = super.zext(a, size);
    return v.constant !== undefined || v.type !== "i64" ? v : Object.assign(v, { bits: Math.min(8 * size, bitsOf(a)) });
  }
  override and(a: Value, b: Value): Value {
    return this.#narrowed(super.and(a, b), Math.min(bitsOf(a), bitsOf(b)));
  }
  override or(a: Value, b: Value): Value {
    return this.#narrowed(super.or(a, b), Math.max(bitsOf(a), bitsOf(b)));
  }
  override xor(a: Value, b: Value): Value {
    return this.#narrowed(super.xor(a, b), Math.max(bitsOf(a), bitsOf(b)));
  }
  override shrU(a: Value, n: Value): Value {
    const count = n.constant === undefined ? 0 : Number(n.constant & 63n);
    return this.#narrowed(super.shrU(a, n), Math.max(1, bitsOf(a) - count));
  }
  #narrowed(v: Value, bits: number): Value {
    return v.type === "i64" && v.constant === undefined && bits < 64 ? Object.assign(v, { bits }) : v;
  }

  // ——— branches ———
  override when(c: Value, then: () => void, otherwise?: () => void): void {
    if (c.constant !== undefined) return super.when(c, then, otherwise);
    this.#branching((a, b) => super.when(c, a, b), then, otherwise ?? ((): void => {}));
  }
  override whenValue(c: Value, then: () => Value, otherwise: () => Value): Value {
    if (c.constant !== undefined) return super.whenValue(c, then, otherwise);
    let result!: Value;
    this.#branching((a, b) => (result = super.whenValue(c, a, b)), then, otherwise);
    return result;
  }
  /** Runs both branches from one state, and joins what they leave. */
  #branching<T>(emit: (then: () => T, otherwise: () => T) => void, then: () => T, otherwise: () => T): void {
    this.syncFlagKind();
    const before = this.flagsState;
    const [registers, memory] = [this.registerEffects, this.memoryEffects];
    const ends: { flags: FlagsState; registers: number; memory: number }[] = [];
    const branch = (write: () => T) => (): T => {
      this.flagsState = before;
      [this.registerEffects, this.memoryEffects] = [registers, memory];
      const result = write();
      this.syncFlagKind();
      ends.push({ flags: this.flagsState, registers: this.registerEffects, memory: this.memoryEffects });
      return result;
    };
    emit(branch(then), branch(otherwise));
    const [a, b] = ends;
    const same = a.flags.code !== undefined && a.flags.code === b.flags.code && a.flags.b === b.flags.b;
    this.flagsState = same ? a.flags : UNKNOWN_FLAGS;
    this.registerEffects = Math.max(a.registers, b.registers);
    this.memoryEffects = Math.max(a.memory, b.memory);
  }
}
