/* Second layer: the lazy flags of isa/flags.ts in the register file. Parameter 0 of every generated function is the register file's address. */
import type { FlagKind, FlagName, Size } from "../../isa/sem.ts";
import { Reg } from "../../isa/registers.ts";
import { derivedFlags, isDerived, rotatedFlags } from "../../isa/sem/derived-flags.ts";
import { EmitValues, type Value } from "./emit-values.ts";

/** Parameter index of the register file's address. */
export const STATE = 0;

const SIGN = 1n << 63n;
const TOP_TWO = 0xc000000000000000n;

export abstract class EmitFlags extends EmitValues {
  abstract readonly size: Size;

  field(offset: number, size: 4 | 8): Value {
    this.f.get(STATE).memory(size === 8 ? "i64.load" : "i64.load32_u", offset);
    return this.keep("i64");
  }
  setField(offset: number, size: 4 | 8, v: Value): void {
    this.f.get(STATE);
    this.push(v);
    this.f.memory(size === 8 ? "i64.store" : "i64.store32", offset);
  }
  #pushX87(n: Value): void {
    this.f.get(STATE);
    this.push32(n);
    this.f.i32(4).op("i32.shl").op("i32.add");
  }
  x87Word(n: Value, at: 0 | 8): Value {
    this.#pushX87(n);
    this.f.memory("i64.load", Reg.ST + at);
    return this.keep("i64");
  }
  x87SetWord(n: Value, at: 0 | 8, v: Value): void {
    this.#pushX87(n);
    this.push(v);
    this.f.memory("i64.store", Reg.ST + at);
  }

  get #result(): Value {
    return this.field(Reg.FLAG_RESULT, 8);
  }
  get #aux(): Value {
    return this.field(Reg.FLAG_AUX, 8);
  }
  #set(result: Value, aux: Value): void {
    this.setField(Reg.FLAG_RESULT, 8, result);
    this.setField(Reg.FLAG_AUX, 8, aux);
  }
  /** Nonzero i64 with only bit 63 of the value, as a boolean. */
  #top(v: Value): Value {
    return this.ltS(v, this.const(0));
  }

  flags(kind: FlagKind, a: Value, b: Value, result: Value, size: Size = this.size): void {
    const derived = isDerived(kind) ? derivedFlags(this, kind, a, b, result, size) : undefined;
    if (derived) return this.flagsResult(result, derived.CF, derived.OF, undefined, size);
    const signed = this.sext(result, size);
    if (kind === "logic") return this.#set(signed, this.const(0));
    const subtract = kind === "sub" || kind === "dec";
    const notA = subtract ? this.xor(a, this.const(-1)) : a;
    const vector = subtract
      ? this.or(this.and(notA, b), this.and(this.xor(this.xor(a, b), this.const(-1)), result))
      : this.or(this.and(a, b), this.and(this.or(a, b), this.xor(result, this.const(-1))));
    const shifted = size === 8 ? vector : this.shl(vector, this.const(64 - 8 * size));
    const top = this.and(shifted, this.const(TOP_TWO));
    let aux = this.or(top, this.and(vector, this.const(8)));
    if (kind === "inc" || kind === "dec") {
      // CF stays: bit 63 is replaced by the old CF, and bit 62 is corrected so that OF = 63 ^ 62 stays the new one
      const change = this.and(this.xor(aux, this.#aux), this.const(SIGN));
      aux = this.xor(aux, this.or(change, this.shrU(change, this.const(1))));
    }
    this.#set(signed, aux);
  }

  flagsResult(result: Value, cf: Value, of: Value, af?: Value, size: Size = this.size): void {
    let aux = this.shl(cf, this.const(63));
    aux = this.or(aux, this.shl(this.xor(this.zext(cf, 8), this.zext(of, 8)), this.const(62)));
    if (af) aux = this.or(aux, this.shl(af, this.const(3)));
    this.#set(this.sext(result, size), aux);
  }

  rotateFlags(left: boolean, result: Value): void {
    this.setFlags(rotatedFlags(this, left, result, this.size));
  }

  flag(name: FlagName): Value {
    switch (name) {
      case "ZF":
        return this.isZero(this.#result);
      case "CF":
        return this.#top(this.#aux);
      case "SF":
        return this.#top(this.xor(this.#result, this.shl(this.#aux, this.const(62))));
      case "OF": {
        const aux = this.#aux;
        return this.#top(this.xor(aux, this.shl(aux, this.const(1))));
      }
      case "AF":
        return this.ne(this.and(this.#aux, this.const(8)), this.const(0));
      case "PF": {
        const ones = this.popcnt(this.and(this.#result, this.const(0xff)));
        return this.isZero(this.and(this.xor(ones, this.#aux), this.const(1)));
      }
    }
  }

  cond(cc: number): Value {
    const positive = this.#positive(cc >> 1);
    return cc & 1 ? this.isZero(positive) : positive;
  }
  /** Condition pairs in encoding order: O B Z BE S P L LE. */
  #positive(pair: number): Value {
    switch (pair) {
      case 0:
        return this.flag("OF");
      case 1:
        return this.flag("CF");
      case 2:
        return this.flag("ZF");
      case 3:
        return this.or(this.flag("CF"), this.flag("ZF"));
      case 4:
        return this.flag("SF");
      case 5:
        return this.flag("PF");
      case 6:
        return this.#less();
      default:
        return this.or(this.#less(), this.flag("ZF"));
    }
  }
  /** SF ^ OF without making either a boolean first. */
  #less(): Value {
    const aux = this.#aux;
    const sf = this.xor(this.#result, this.shl(aux, this.const(62)));
    return this.#top(this.xor(sf, this.xor(aux, this.shl(aux, this.const(1)))));
  }

  readFlags(): Value {
    const at = (name: FlagName, bit: number): Value => this.shl(this.zext(this.flag(name), 8), this.const(bit));
    const low = this.or(this.or(at("CF", 0), at("PF", 2)), this.or(at("AF", 4), at("ZF", 6)));
    return this.or(low, this.or(at("SF", 7), at("OF", 11)));
  }

  writeFlags(v: Value): void {
    const bit = (n: number): Value => this.and(this.shrU(v, this.const(n)), this.const(1));
    this.#pack(bit(0), bit(2), bit(4), bit(6), bit(7), bit(11));
  }

  setFlags(flags: Partial<Record<FlagName, Value>>): void {
    if (Object.keys(flags).every((name) => name === "CF" || name === "OF"))
      return this.#setCarryAndOverflow(flags.CF, flags.OF);
    const get = (name: FlagName): Value => this.zext(flags[name] ?? this.flag(name), 8);
    this.#pack(get("CF"), get("PF"), get("AF"), get("ZF"), get("SF"), get("OF"));
  }

  /** Rotates, ADCX, CLC and the like: only the top two bits of aux change. */
  #setCarryAndOverflow(cf: Value | undefined, of: Value | undefined): void {
    const aux = this.#aux;
    const carry = cf ? this.zext(cf, 8) : this.shrU(aux, this.const(63));
    const overflow = of ? this.zext(of, 8) : this.shrU(this.xor(aux, this.shl(aux, this.const(1))), this.const(63));
    const top = this.or(this.shl(carry, this.const(63)), this.shl(this.xor(carry, overflow), this.const(62)));
    this.setField(Reg.FLAG_AUX, 8, this.or(this.and(aux, this.const(~TOP_TWO)), top));
  }
  /** As packFlags: result 0 or 1, SF and PF by the inversion bits (result 1 has odd parity, 0 even). */
  #pack(cf: Value, pf: Value, af: Value, zf: Value, sf: Value, of: Value): void {
    const one = this.const(1);
    const result = this.xor(zf, one);
    let aux = this.or(this.shl(cf, this.const(63)), this.shl(this.xor(cf, of), this.const(62)));
    aux = this.or(aux, this.or(this.shl(af, this.const(3)), this.shl(sf, one)));
    // even parity of the result is 1 exactly when ZF is: the inversion bit is PF ^ ZF
    this.#set(result, this.or(aux, this.xor(pf, zf)));
  }
}
