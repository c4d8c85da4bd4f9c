/* Bit tests and scans: BT BTS BTR BTC, BSF BSR, TZCNT LZCNT POPCNT, CRC32.
 * @source SDM vol. 2A "BSF", "BSR", "BT"…, "CRC32"; vol. 2B "LZCNT", "POPCNT"; vol. 2C "TZCNT" */
import type { CallSpec } from "../calls.ts";
import { semantics, type Sem, type Semantics } from "../sem.ts";

type BitChange = "test" | "set" | "reset" | "complement";

function changed<V>(s: Sem<V>, value: V, mask: V, change: BitChange): V {
  if (change === "set") return s.or(value, mask);
  return change === "reset" ? s.and(value, s.not(mask)) : s.xor(value, mask);
}

/** Bit in operand 0 itself: register, or any operand with an immediate bit number. */
function bitInOperand<V>(s: Sem<V>, change: BitChange): void {
  const value = s.get(0);
  const n = s.and(s.get(1), s.const(s.size * 8 - 1));
  if (change !== "test") s.put(0, changed(s, value, s.shl(s.const(1), n), change));
  s.setFlags({ CF: s.and(s.shrU(value, n), s.const(1)) });
}

/** Linear address of memory operand 0, moved by an offset within its segment. */
function wordAddress<V>(s: Sem<V>, offset: V): V {
  const linear = s.linearAddress(0);
  if (s.addressSize === 8) return s.add(linear, offset);
  const effective = s.effectiveAddress(0);
  return s.add(linear, s.sub(s.zext(s.add(effective, offset), 4), effective));
}

/** Bit string in memory: the register's signed bit number chooses the word. In a LOCKed instruction the store is a
 *  compare-and-swap against the load. */
function bitInString<V>(s: Sem<V>, change: BitChange): void {
  const offset = s.getSigned(1);
  const bits = s.size * 8;
  const word = s.shrS(offset, s.const(Math.log2(bits)));
  const address = wordAddress(s, s.mul(word, s.const(s.size)));
  if (change !== "test") s.probeWrite(address, s.size);
  const value = s.load(address, s.size);
  const n = s.and(offset, s.const(bits - 1));
  if (change !== "test") s.store(address, s.size, changed(s, value, s.shl(s.const(1), n), change));
  s.setFlags({ CF: s.and(s.shrU(value, n), s.const(1)) });
}

const bitTest = (change: BitChange): Semantics =>
  semantics(change === "test" ? "rr" : "xr", (s) => (s.isMemory(0) ? bitInString(s, change) : bitInOperand(s, change)));
const bitTestImmediate = (change: BitChange): Semantics =>
  semantics(change === "test" ? "rr" : "xr", (s) => bitInOperand(s, change));

export const BT = bitTest("test");
export const BTS = bitTest("set");
export const BTR = bitTest("reset");
export const BTC = bitTest("complement");
/** BT BTS BTR BTC with an immediate, in ModRM.reg order from 4. */
export const BIT_IMMEDIATE: readonly Semantics[] = (["test", "set", "reset", "complement"] as const).map(
  bitTestImmediate,
);

/** The destination keeps its value if the source is 0. */
const bitScan = (reverse: boolean): Semantics =>
  semantics("wr", (s) => {
    const from = s.get(1);
    s.when(s.ne(from, s.const(0)), () => s.put(0, reverse ? s.sub(s.const(63), s.clz(from)) : s.ctz(from)));
    s.flags("logic", from, from, from);
  });
export const BSF = bitScan(false);
export const BSR = bitScan(true);

export const TZCNT = semantics("wr", (s) => {
  const from = s.get(1);
  const sentinel = s.size === 8 ? from : s.or(from, s.const(1n << BigInt(s.size * 8)));
  const r = s.ctz(sentinel);
  s.put(0, r);
  s.flagsResult(r, s.isZero(from), s.const(0));
});
export const LZCNT = semantics("wr", (s) => {
  const from = s.get(1);
  const r = s.sub(s.clz(from), s.const(64 - s.size * 8));
  s.put(0, r);
  s.flagsResult(r, s.isZero(from), s.const(0));
});
export const POPCNT = semantics("wr", (s) => {
  const from = s.get(1);
  s.put(0, s.popcnt(from));
  s.writeFlags(s.shl(s.isZero(from), s.const(6)));
});

/** Operand 0 is 32 or 64 bits, operand 1 may be narrower. */
export const CRC32 = semantics("xr", (s) =>
  s.put(0, s.zext(s.call("crc32c", s.get(0), s.get(1), s.const(s.width(1))), 4)),
);

/** CRC-32C, the reflected polynomial 0x11EDC6F41. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

export const BIT_CALLS: Record<string, CallSpec> = {
  /** (crc, data, bytes of data) → crc */
  crc32c: {
    args: 3,
    result: true,
    run: (_cpu, crc, data, size) => {
      let c = Number(BigInt.asUintN(32, crc!));
      for (let i = 0n; i < size!; i++) c = (c >>> 8) ^ CRC32C_TABLE[(c ^ Number((data! >> (8n * i)) & 0xffn)) & 0xff]!;
      return BigInt(c >>> 0);
    },
  },
};
