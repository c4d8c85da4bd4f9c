/* Fourth layer of the translator's Sem<V>: SSE floating point as host floats. While MXCSR masks all exceptions, rounds to nearest, and PE is set already, the host's result is the
 * guest's, and no flag changes, if operands and result are normal: a few compares beside the operation. Anything else (zeros among it) goes to
 * `fpGeneral` of region-core.ts, which looks closer, and from there to soft floating point.
 * @source SDM vol. 1 §11.5 (exceptions), docs/engine.md "Flags and floating point" */
import { Reg } from "../../../isa/registers.ts";
import type { FpOp, Size } from "../../../isa/sem.ts";
import { MOVE_CLEARING } from "../../../isa/sem/sse-move.ts";
import type { Local } from "../../../wasm/function.ts";
import { STATE } from "../emit-flags.ts";
import type { Value } from "../emit-values.ts";
import { MXCSR_FAST, MXCSR_MODE, MXCSR_PE } from "../emit-vectors.ts";
import { RegionMemory } from "./region-memory.ts";

/** Instructions whose scalar operands are floats. */
const FLOATS = /^(?:(?:add|sub|mul|div|sqrt|min|max)s[sd]|u?comis[sd]|cvtt?s[sd]2s[isd]|cvtsi2s[sd]|movs[sd])$/;
/** Operations that fpGeneral does. */
export const GENERAL_OPS = ["add", "sub", "mul", "div", "sqrt"] as const;
export const generalName = (op: FpOp, width: 4 | 8): string => `fpGeneral:${op}${8 * width}`;
const isGeneral = (op: FpOp): boolean => (GENERAL_OPS as readonly FpOp[]).includes(op);

interface Format {
  readonly type: "f32" | "f64";
  readonly bits: "i32" | "i64";
  readonly shape: "f32x4" | "f64x2";
  readonly lanes: "i32x4" | "i64x2";
  readonly fraction: number;
  readonly exponents: number;
  readonly least: number;
  readonly most: number;
}
const FORMATS: Record<4 | 8, Format> = {
  4: {
    type: "f32",
    bits: "i32",
    shape: "f32x4",
    lanes: "i32x4",
    fraction: 23,
    exponents: 0xff,
    least: 2 ** -126,
    most: 2 ** 127 * (2 - 2 ** -23),
  },
  8: {
    type: "f64",
    bits: "i64",
    shape: "f64x2",
    lanes: "i64x2",
    fraction: 52,
    exponents: 0x7ff,
    least: 2 ** -1022,
    most: Number.MAX_VALUE,
  },
};

export abstract class RegionFloat extends RegionMemory {
  /** 1 while the host's arithmetic is the guest's for normal numbers. */
  readonly fpMode: Local = this.f.local("i32");
  usesFpMode = false;
  #gathering = false;

  /** Of the current instruction: are its scalars floats? */
  protected get floats(): boolean {
    return this.options.passes.fastFloat && this.d.row.unit === "sse" && FLOATS.test(this.d.row.mnemonic);
  }
  /** LDMXCSR changes the mode. */
  override setField(offset: number, size: 4 | 8, v: Value): void {
    super.setField(offset, size, v);
    if (offset === Reg.MXCSR) this.loadFpMode();
  }
  /** Written where the region begins. */
  loadFpMode(): void {
    this.f
      .get(STATE)
      .memory("i32.load", Reg.MXCSR)
      .i32(MXCSR_MODE | MXCSR_PE)
      .op("i32.and");
    this.f
      .i32(MXCSR_FAST | MXCSR_PE)
      .op("i32.eq")
      .set(this.fpMode);
  }
  #pushMode(): void {
    this.usesFpMode = true;
    this.f.get(this.fpMode);
  }
  protected override pushFastMode(pushExact: () => void): void {
    if (this.options.passes.fastFloat) this.#pushMode();
    else super.pushFastMode(pushExact);
  }
  protected override keepBits(width: 4 | 8): Value {
    return this.options.passes.fastFloat ? this.keep(FORMATS[width].type) : super.keepBits(width);
  }
  override fpLanes<T>(run: () => T): T {
    const outer = this.#gathering;
    this.#gathering = true;
    const result = super.fpLanes(run);
    this.#gathering = outer;
    return result;
  }

  /** Leaves to `slow` if the number's exponent (pushed by bits, twice the value) is below `least` or not finite. */
  #leaveUnlessNormal(width: 4 | 8, v: Value, slow: number, least: number, finite: boolean): void {
    const { bits, fraction, exponents } = FORMATS[width];
    const constant = (exponent: number): void => {
      if (width === 8) this.f.i64(BigInt.asIntN(64, BigInt(exponent) << BigInt(fraction + 1)));
      else this.f.i32((exponent << (fraction + 1)) | 0);
    };
    if (v.type === "f64" || v.type === "f32") this.f.get(v.local).op(`${bits}.reinterpret_${FORMATS[width].type}`);
    else if (width === 8) this.push(v);
    else this.push32(v);
    if (width === 8) this.f.i64(1).op("i64.shl");
    else this.f.i32(1).op("i32.shl");
    constant(least);
    if (finite) {
      this.f.op(`${bits}.sub`);
      constant(exponents - least);
      this.f.op(`${bits}.ge_u`);
    } else this.f.op(`${bits}.lt_u`);
    this.f.likely(false).brIf(slow);
  }

  override fp(op: FpOp, width: 4 | 8, a: Value, b: Value): Value {
    if (!this.options.passes.fastFloat || !isGeneral(op)) return super.fp(op, width, a, b);
    const { f } = this;
    const { type, bits } = FORMATS[width];
    this.pushFloat(width, a);
    if (op !== "sqrt") this.pushFloat(width, b);
    f.op(`${type}.${op}`);
    const result = this.keep(type);
    const done = f.block();
    const slow = f.block();
    this.#pushMode();
    f.op("i32.eqz").likely(false).brIf(slow);
    this.#leaveUnlessNormal(width, a, slow, 1, false);
    if (op !== "sqrt") this.#leaveUnlessNormal(width, b, slow, 1, false);
    // the smallest binade is left out: what rounds up to it may have been tiny
    this.#leaveUnlessNormal(width, result, slow, 2, true);
    f.br(done).end();
    f.get(STATE);
    this.push(a);
    this.push(b);
    f.call(this.imports.function(generalName(op, width)));
    if (width === 4) f.op("i32.wrap_i64");
    f.op(`${type}.reinterpret_${bits}`).set(result.local);
    if (!this.#gathering) this.raiseGathered();
    f.end();
    return result;
  }
  override fpPacked(op: FpOp, width: 4 | 8, a: Value, b: Value): Value {
    if (!this.options.passes.fastFloat || !isGeneral(op)) return super.fpPacked(op, width, a, b);
    const { f } = this;
    const { shape, lanes } = FORMATS[width];
    this.pushV128(a);
    if (op !== "sqrt") this.pushV128(b);
    f.op(`${shape}.${op}`);
    const result = this.keep("v128");
    this.#pushMode();
    this.#pushLanesNormal(width, op === "sqrt" ? [a] : [a, b], result);
    f.op(`${lanes}.all_true`).op("i32.and").op("i32.eqz").likely(false).if();
    for (let lane = 0; lane < 16 / width; lane++) {
      f.get(result.local).get(STATE);
      for (const v of [a, b]) this.push(this.lane(lanes, v, lane));
      f.call(this.imports.function(generalName(op, width)));
      if (width === 4) f.op("i32.wrap_i64");
      f.laneOp(`${lanes}.replace_lane`, lane).set(result.local);
    }
    if (!this.#gathering) this.raiseGathered();
    f.end();
    return result;
  }
  /** Pushes a mask of the lanes whose operands are normal and whose result is well inside the range. */
  #pushLanesNormal(width: 4 | 8, operands: readonly Value[], result: Value): void {
    const { f } = this;
    const { shape, least, most } = FORMATS[width];
    const splat = (n: number): void =>
      void f
        .f64(n)
        .op(width === 4 ? "f32.demote_f64" : "nop")
        .op(`${shape}.splat`);
    const compare = (v: Value, op: "ge" | "le", n: number): void => {
      f.get(v.local).op(`${shape}.abs`);
      splat(n);
      f.op(`${shape}.${op}`);
    };
    compare(result, "ge", 2 * least);
    compare(result, "le", most);
    f.op("v128.and");
    for (const v of operands) {
      compare(v, "ge", least);
      f.op("v128.and");
    }
  }
  override fpCompare(width: 4 | 8, a: Value, b: Value, signalling: Value): Value {
    const order = super.fpCompare(width, a, b, signalling);
    if (/^u?comis/.test(this.d.row.mnemonic)) this.order = order;
    return order;
  }

  // ——— operands as floats ———
  override load(address: Value, size: Size): Value {
    const { row } = this.d;
    if (this.options.passes.fastFloat && row.semantics === MOVE_CLEARING && size >= 4)
      return this.loadAs(address, size, size === 8 ? "v128.load64_zero" : "v128.load32_zero", "v128");
    if (!this.floats || (size !== 8 && size !== 4) || row.mnemonic === "cvtsi2sd" || row.mnemonic === "cvtsi2ss")
      return super.load(address, size);
    const { type } = FORMATS[size];
    return this.loadAs(address, size, `${type}.load`, type);
  }
  override withLane(shape: "i8x16" | "i16x8" | "i32x4" | "i64x2", v: Value, lane: number, x: Value): Value {
    return x.type === "v128" ? x : super.withLane(shape, v, lane, x); // a load that cleared the rest
  }
}
