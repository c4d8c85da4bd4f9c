/* SSE floating-point arithmetic: scalar on bit patterns of the low lane, packed on v128; exactness is the primitives'.
 * Packed forms without a primitive of their own go lane by lane, lowest first.
 * @source SDM vol. 2 ADDPS … SUBSD, HADDPS, ADDSUBPD, DPPS, RCPPS, RSQRTPS, ROUNDPS */
import { type FpOp, type Sem, type Semantics, semantics } from "../sem.ts";

/** ADDSS … MAXSD: destination op source, into the low lane. */
export const fpBinary = (op: FpOp, width: 4 | 8): Semantics =>
  semantics("xr", (s) => s.put(0, s.fp(op, width, s.get(0), s.get(1))));
export const fpBinaryPacked = (op: FpOp, width: 4 | 8): Semantics =>
  semantics("xr", (s) => s.put(0, s.fpPacked(op, width, s.get(0), s.get(1))));

export const fpSqrt = (width: 4 | 8): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    s.put(0, s.fp("sqrt", width, b, b));
  });
export const fpSqrtPacked = (width: 4 | 8): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    s.put(0, s.fpPacked("sqrt", width, b, b));
  });

/** A vector of f(lane number), computed as one packed operation. */
export function mapLanes<V>(s: Sem<V>, shape: "i32x4" | "i64x2", f: (lane: number) => V): V {
  const values = s.fpLanes(() => Array.from({ length: shape === "i32x4" ? 4 : 2 }, (_, i) => f(i)));
  return values.slice(1).reduce((v, x, i) => s.withLane(shape, v, i + 1, x), s.vector(`${shape}.splat`, values[0]));
}

export const shapeOf = (width: 4 | 8): "i32x4" | "i64x2" => (width === 4 ? "i32x4" : "i64x2");

const evenOf = {
  4: [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27],
  8: [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23],
} as const;

/** HADDPx, HSUBPx: neighbours of the destination in the low half, of the source in the high half. */
export const fpHorizontal = (op: "add" | "sub", width: 4 | 8): Semantics =>
  semantics("xr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    const even = s.shuffle(a, b, evenOf[width]);
    const odd = s.shuffle(
      a,
      b,
      evenOf[width].map((byte) => byte + width),
    );
    s.put(0, s.fpPacked(op, width, even, odd));
  });

/** ADDSUBPx: even lanes subtract, odd lanes add. */
export const fpAddSub = (width: 4 | 8): Semantics =>
  semantics("xr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    const shape = shapeOf(width);
    s.put(
      0,
      mapLanes(s, shape, (i) => s.fp(i & 1 ? "add" : "sub", width, s.lane(shape, a, i), s.lane(shape, b, i))),
    );
  });

/** DPPS, DPPD: imm[7:4] choose the products, imm[3:0] the lanes that get their sum; the others are zeroed. */
export const fpDotProduct = (width: 4 | 8): Semantics =>
  semantics("xrr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    const imm = s.get(2);
    const shape = shapeOf(width);
    const bit = (n: number) => s.and(s.shrU(imm, s.const(n)), s.const(1));
    const none = s.const(0);
    const product = (i: number) =>
      s.whenValue(
        bit(4 + i),
        () => s.fp("mul", width, s.lane(shape, a, i), s.lane(shape, b, i)),
        () => none,
      );
    const products = s.fpLanes(() => Array.from({ length: 16 / width }, (_, i) => product(i)));
    const add = (pair: readonly (typeof none)[]) => s.fp("add", width, pair[0], pair[1]);
    const sum = width === 8 ? add(products) : add(s.fpLanes(() => [add(products), add(products.slice(2))]));
    s.put(
      0,
      mapLanes(s, shape, (i) => s.select(bit(i), sum, none)),
    );
  });

/** ROUNDxx: operand 2 is the control. */
export const fpRoundScalar = (width: 4 | 8): Semantics =>
  semantics("wrr", (s) => s.put(0, s.fpRound(width, s.get(1), s.get(2))));
export const fpRoundPacked = (width: 4 | 8): Semantics =>
  semantics("wrr", (s) => {
    const b = s.get(1);
    const control = s.get(2);
    const shape = shapeOf(width);
    s.put(
      0,
      mapLanes(s, shape, (i) => s.fpRound(width, s.lane(shape, b, i), control)),
    );
  });

/** RCPxS and RSQRTxS: the correctly rounded value instead of a processor's 11-bit table: within the manual's bound and
 *  the same on every host. */
export const approximate = (name: "rcp32" | "rsqrt32"): Semantics =>
  semantics("wr", (s) => s.put(0, s.call(name, s.get(1))));
export const approximatePacked = (name: "rcp32" | "rsqrt32"): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    s.put(
      0,
      mapLanes(s, "i32x4", (i) => s.call(name, s.lane("i32x4", b, i))),
    );
  });
