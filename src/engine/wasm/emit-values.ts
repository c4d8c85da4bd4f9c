/* First layer of the wasm implementation of Sem: integers, booleans and control as code over locals. Values are locals (each written once) or
 * constants; constants fold. Booleans are i32, integers i64; each is converted when the other is needed. */
import type { Size } from "../../isa/sem.ts";
import type { FunctionBuilder, Local } from "../../wasm/function.ts";
import type { ValueTypeName } from "../../wasm/opcodes.ts";

/** A value of Sem in generated code. Floats stand for their bits. */
export interface Value {
  readonly type: ValueTypeName;
  readonly local: Local;
  /** Folded constant (then local is −1). Booleans are 0n or 1n with type i32. */
  readonly constant?: bigint;
}

const MASKS: Record<number, bigint> = { 1: 0xffn, 2: 0xffffn, 4: 0xffffffffn, 8: 0xffffffffffffffffn };
const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);

export class EmitValues {
  readonly f: FunctionBuilder;

  constructor(f: FunctionBuilder) {
    this.f = f;
  }

  /** The value on top of the wasm stack becomes a local. */
  keep(type: ValueTypeName): Value {
    const local = this.f.local(type);
    this.f.set(local);
    return { type, local };
  }
  const(n: bigint | number): Value {
    return { type: "i64", local: -1, constant: u64(BigInt(n)) };
  }
  #bool(b: boolean): Value {
    return { type: "i32", local: -1, constant: b ? 1n : 0n };
  }

  /** Pushes as i64. */
  push(v: Value): void {
    if (v.constant !== undefined) this.f.i64(v.constant);
    else {
      this.f.get(v.local);
      if (v.type === "i32") this.f.op("i64.extend_i32_u");
      else if (v.type === "f64") this.f.op("i64.reinterpret_f64");
      else if (v.type === "f32") this.f.op("i32.reinterpret_f32").op("i64.extend_i32_u");
    }
  }
  /** Pushes as i32: a boolean, or the low half of an integer. */
  push32(v: Value): void {
    if (v.constant !== undefined) this.f.i32(Number(BigInt.asIntN(32, v.constant)));
    else {
      if (v.type === "i32") this.f.get(v.local);
      else {
        this.push(v);
        this.f.op("i32.wrap_i64");
      }
    }
  }
  /** Pushes as an i32 that is nonzero if the value is. */
  pushCondition(v: Value): void {
    if (v.type === "i32" || v.constant !== undefined)
      return this.push32(v.constant !== undefined ? this.#bool(v.constant !== 0n) : v);
    this.f.get(v.local).i64(0).op("i64.ne");
  }
  pushV128(v: Value): void {
    this.f.get(v.local);
  }

  #binary(op: string, a: Value, b: Value, fold: (x: bigint, y: bigint) => bigint): Value {
    if (a.constant !== undefined && b.constant !== undefined) return this.const(fold(a.constant, b.constant));
    this.push(a);
    this.push(b);
    this.f.op(op);
    return this.keep("i64");
  }
  #compare(op: string, a: Value, b: Value, fold: (x: bigint, y: bigint) => boolean): Value {
    if (a.constant !== undefined && b.constant !== undefined) return this.#bool(fold(a.constant, b.constant));
    this.push(a);
    this.push(b);
    this.f.op(op);
    return this.keep("i32");
  }
  #unary(op: string, a: Value): Value {
    this.push(a);
    this.f.op(op);
    return this.keep("i64");
  }

  add(a: Value, b: Value): Value {
    if (b.constant === 0n) return a;
    return this.#binary("i64.add", a, b, (x, y) => x + y);
  }
  sub(a: Value, b: Value): Value {
    return this.#binary("i64.sub", a, b, (x, y) => x - y);
  }
  mul(a: Value, b: Value): Value {
    return this.#binary("i64.mul", a, b, (x, y) => x * y);
  }
  and(a: Value, b: Value): Value {
    if (a.type === "i32" && b.type === "i32") return this.#bits32("i32.and", a, b, (x, y) => x & y);
    return this.#binary("i64.and", a, b, (x, y) => x & y);
  }
  or(a: Value, b: Value): Value {
    if (a.type === "i32" && b.type === "i32") return this.#bits32("i32.or", a, b, (x, y) => x | y);
    return this.#binary("i64.or", a, b, (x, y) => x | y);
  }
  xor(a: Value, b: Value): Value {
    if (a.type === "i32" && b.type === "i32") return this.#bits32("i32.xor", a, b, (x, y) => x ^ y);
    return this.#binary("i64.xor", a, b, (x, y) => x ^ y);
  }
  #bits32(op: string, a: Value, b: Value, fold: (x: bigint, y: bigint) => bigint): Value {
    if (a.constant !== undefined && b.constant !== undefined) {
      return { type: "i32", local: -1, constant: fold(a.constant, b.constant) };
    }
    this.push32(a);
    this.push32(b);
    this.f.op(op);
    return this.keep("i32");
  }
  not(a: Value): Value {
    return this.xor(a.type === "i32" ? this.zext(a, 8) : a, this.const(-1));
  }
  shl(a: Value, n: Value): Value {
    return this.#binary("i64.shl", a, n, (x, y) => x << (y & 63n));
  }
  shrU(a: Value, n: Value): Value {
    return this.#binary("i64.shr_u", a, n, (x, y) => x >> (y & 63n));
  }
  shrS(a: Value, n: Value): Value {
    return this.#binary("i64.shr_s", a, n, (x, y) => BigInt.asIntN(64, x) >> (y & 63n));
  }
  rotl(a: Value, n: Value): Value {
    return this.#binary("i64.rotl", a, n, (x, y) => (x << (y & 63n)) | (x >> ((64n - y) & 63n)));
  }
  divU(a: Value, b: Value): Value {
    return this.#runtime("i64.div_u", a, b);
  }
  divS(a: Value, b: Value): Value {
    return this.#runtime("i64.div_s", a, b);
  }
  remU(a: Value, b: Value): Value {
    return this.#runtime("i64.rem_u", a, b);
  }
  remS(a: Value, b: Value): Value {
    return this.#runtime("i64.rem_s", a, b);
  }
  #runtime(op: string, a: Value, b: Value): Value {
    this.push(a);
    this.push(b);
    this.f.op(op);
    return this.keep("i64");
  }
  clz(a: Value): Value {
    return this.#unary("i64.clz", a);
  }
  ctz(a: Value): Value {
    return this.#unary("i64.ctz", a);
  }
  popcnt(a: Value): Value {
    return this.#unary("i64.popcnt", a);
  }

  /** High half of a 64 × 64-bit product from four 32-bit ones. */
  mulHighU(a: Value, b: Value): Value {
    const mask = this.const(0xffffffffn);
    const n = this.const(32);
    const [al, ah] = [this.and(a, mask), this.shrU(a, n)];
    const [bl, bh] = [this.and(b, mask), this.shrU(b, n)];
    const middle = this.add(this.mul(ah, bl), this.shrU(this.mul(al, bl), n));
    const other = this.add(this.mul(al, bh), this.and(middle, mask));
    return this.add(this.add(this.mul(ah, bh), this.shrU(middle, n)), this.shrU(other, n));
  }
  mulHighS(a: Value, b: Value): Value {
    const n = this.const(63);
    const high = this.mulHighU(a, b);
    return this.sub(this.sub(high, this.and(this.shrS(a, n), b)), this.and(this.shrS(b, n), a));
  }

  zext(a: Value, size: Size): Value {
    if (a.constant !== undefined) return this.const(a.constant & MASKS[size]);
    if (a.type === "i32") {
      this.push(a);
      return this.keep("i64");
    }
    if (size === 8) return a;
    this.push(a);
    if (size === 4) this.f.op("i32.wrap_i64").op("i64.extend_i32_u");
    else this.f.i64(MASKS[size]).op("i64.and");
    return this.keep("i64");
  }
  sext(a: Value, size: Size): Value {
    if (a.constant !== undefined) return this.const(BigInt.asIntN(size * 8, a.constant));
    if (size === 8) return a;
    this.push(a);
    this.f.op(size === 1 ? "i64.extend8_s" : size === 2 ? "i64.extend16_s" : "i64.extend32_s");
    return this.keep("i64");
  }

  eq(a: Value, b: Value): Value {
    return this.#compare("i64.eq", a, b, (x, y) => x === y);
  }
  ne(a: Value, b: Value): Value {
    return this.#compare("i64.ne", a, b, (x, y) => x !== y);
  }
  ltU(a: Value, b: Value): Value {
    return this.#compare("i64.lt_u", a, b, (x, y) => x < y);
  }
  ltS(a: Value, b: Value): Value {
    return this.#compare("i64.lt_s", a, b, (x, y) => BigInt.asIntN(64, x) < BigInt.asIntN(64, y));
  }
  isZero(a: Value): Value {
    if (a.constant !== undefined) return this.#bool(a.constant === 0n);
    this.f.get(a.local).op(a.type === "i32" ? "i32.eqz" : "i64.eqz");
    return this.keep("i32");
  }
  select(c: Value, a: Value, b: Value): Value {
    if (c.constant !== undefined) return c.constant !== 0n ? a : b;
    if (a.type === "v128") {
      this.pushV128(a);
      this.pushV128(b);
    } else if (a.type === "i32" && b.type === "i32") {
      this.push32(a);
      this.push32(b);
    } else {
      this.push(a);
      this.push(b);
    }
    this.pushCondition(c);
    this.f.op("select");
    return this.keep(a.type === b.type && (a.type === "v128" || a.type === "i32") ? a.type : "i64");
  }

  when(c: Value, then: () => void, otherwise?: () => void): void {
    if (c.constant !== undefined) {
      if (c.constant !== 0n) then();
      else otherwise?.();
      return;
    }
    this.pushCondition(c);
    this.f.if();
    this.enterBranch();
    then();
    this.leaveBranch();
    if (otherwise) {
      this.f.else();
      this.enterBranch();
      otherwise();
      this.leaveBranch();
    }
    this.f.end();
  }
  whenValue(c: Value, then: () => Value, otherwise: () => Value): Value {
    if (c.constant !== undefined) return c.constant !== 0n ? then() : otherwise();
    let result: Local | undefined;
    let type: ValueTypeName = "i64";
    const branch = (make: () => Value): void => {
      this.enterBranch();
      const v = make();
      if (v.type === "v128") {
        type = "v128";
        this.pushV128(v);
      } else this.push(v);
      result ??= this.f.local(type);
      this.f.set(result);
      this.leaveBranch();
    };
    this.pushCondition(c);
    this.f.if();
    branch(then);
    this.f.else();
    branch(otherwise);
    this.f.end();
    return { type, local: result! };
  }
  /** Values computed inside a branch are not there outside it: caches of them are saved and restored by a subclass. */
  protected enterBranch(): void {}
  protected leaveBranch(): void {}
}
