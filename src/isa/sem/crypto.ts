/* AES, SHA-1, SHA-256 and carry-less multiplication: what they do to 16 bytes, in plain TypeScript. Native code has the host's own instructions for them; elsewhere
 * CPUID does not offer them (features.ts). A call gives the low half of its result, and `upperHalf` the rest of the last one.
 * @source SDM vol. 2 AESENC to AESKEYGENASSIST, SHA1RNDS4 to SHA256MSG2, PCLMULQDQ; FIPS 197; FIPS 180-4 */
import type { CallSpec } from "../calls.ts";
import { type Sem, type Semantics, semantics } from "../sem.ts";

// ——— AES ———
const double = (n: number): number => ((n << 1) ^ (n & 0x80 ? 0x11b : 0)) & 0xff;
function times(a: number, b: number): number {
  let product = 0;
  for (; b !== 0; b >>= 1, a = double(a)) if (b & 1) product ^= a;
  return product;
}
const SBOX = new Uint8Array(256);
const INVERSE_SBOX = new Uint8Array(256);
const substitute = (n: number, inverse: number): void => {
  let value = 0x63;
  for (let turn = 0; turn < 5; turn++) value ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xff;
  SBOX[n] = value;
  INVERSE_SBOX[value] = n;
};
substitute(0, 0);
// 3 generates all others, and 0xf6 is its inverse
for (let i = 0, n = 1, inverse = 1; i < 255; i++, n = times(n, 3), inverse = times(inverse, 0xf6))
  substitute(n, inverse);
const FORWARD = [2, 3, 1, 1];
const BACKWARD = [14, 11, 13, 9];

type Bytes = Uint8Array<ArrayBuffer>;

/** Row r of the state is turned by r columns. @param step 1 ShiftRows, −1 its inverse */
function substituted(state: Bytes, box: Uint8Array, step: number): Bytes {
  return state.map((_, i) => box[state[(i + 4 * step * (i & 3) + 16) & 15]]);
}
function mixed(state: Bytes, factors: readonly number[]): Bytes {
  return state.map((_, i) =>
    factors.reduce((sum, factor, k) => sum ^ times(state[(i & ~3) | ((i + k) & 3)], factor), 0),
  );
}
const exclusive = (a: Bytes, b: Bytes): Bytes => a.map((byte, i) => byte ^ b[i]);

const aes: Record<string, (state: Bytes, key: Bytes) => Bytes> = {
  aesenc: (state, key) => exclusive(mixed(substituted(state, SBOX, 1), FORWARD), key),
  aesenclast: (state, key) => exclusive(substituted(state, SBOX, 1), key),
  aesdec: (state, key) => exclusive(mixed(substituted(state, INVERSE_SBOX, -1), BACKWARD), key),
  aesdeclast: (state, key) => exclusive(substituted(state, INVERSE_SBOX, -1), key),
  aesimc: (_, key) => mixed(key, BACKWARD),
};
function keyAssist(key: Bytes, constant: number): Bytes {
  const out = new Uint8Array(16);
  for (const word of [1, 3]) {
    for (let i = 0; i < 4; i++) {
      const at = 8 * (word >> 1);
      out[at + i] = SBOX[key[4 * word + i]];
      out[at + 4 + i] = SBOX[key[4 * word + ((i + 1) & 3)]];
    }
    out[8 * (word >> 1) + 4] ^= constant;
  }
  return out;
}

// ——— SHA: words are counted from the lowest ———
type Words = Uint32Array<ArrayBuffer>;
const words = (...values: number[]): Words => Uint32Array.from(values);
const left = (n: number, by: number): number => (n << by) | (n >>> (32 - by));
const right = (n: number, by: number): number => left(n, 32 - by);

const choose = (b: number, c: number, d: number): number => (b & c) ^ (~b & d);
const parity = (b: number, c: number, d: number): number => b ^ c ^ d;
const majority = (b: number, c: number, d: number): number => (b & c) ^ (b & d) ^ (c & d);
const SHA1 = [
  [choose, 0x5a827999],
  [parity, 0x6ed9eba1],
  [majority, 0x8f1bbcdc],
  [parity, 0xca62c1d6],
] as const;

function sha1Rounds(state: Words, message: Words, which: number): Words {
  const [f, k] = SHA1[which & 3];
  let [d, c, b, a] = state;
  let e = 0;
  for (let i = 3; i >= 0; i--) {
    const next = (f(b, c, d) + left(a, 5) + message[i] + e + k) | 0;
    [e, d, c, b, a] = [d, c, left(b, 30), a, next];
  }
  return words(d, c, b, a);
}
function sha256Rounds(cdgh: Words, abef: Words, keys: Words): Words {
  let [f, e, b, a] = abef;
  let [h, g, d, c] = cdgh;
  for (let i = 0; i < 2; i++) {
    const one = (choose(e, f, g) + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + keys[i] + h) | 0;
    const two = (majority(a, b, c) + (right(a, 2) ^ right(a, 13) ^ right(a, 22))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (one + d) | 0, c, b, a, (one + two) | 0];
  }
  return words(f, e, b, a);
}
const sigma0 = (n: number): number => right(n, 7) ^ right(n, 18) ^ (n >>> 3);
const sigma1 = (n: number): number => right(n, 17) ^ right(n, 19) ^ (n >>> 10);

const sha: Record<string, (a: Words, b: Words) => Words> = {
  sha1nexte: (a, b) => words(b[0], b[1], b[2], b[3] + left(a[3], 30)),
  sha1msg1: (a, b) => words(a[0] ^ b[2], a[1] ^ b[3], a[0] ^ a[2], a[1] ^ a[3]),
  sha1msg2(a, b) {
    const top = left(a[3] ^ b[2], 1);
    return words(left(a[0] ^ top, 1), left(a[1] ^ b[0], 1), left(a[2] ^ b[1], 1), top);
  },
  sha256msg1: (a, b) => words(a[0] + sigma0(a[1]), a[1] + sigma0(a[2]), a[2] + sigma0(a[3]), a[3] + sigma0(b[0])),
  sha256msg2(a, b) {
    const low = [a[0] + sigma1(b[2]), a[1] + sigma1(b[3])];
    return words(...low, a[2] + sigma1(low[0] | 0), a[3] + sigma1(low[1] | 0));
  },
};

// ——— calls ———
const result = new BigUint64Array(2);
const give = (value: ArrayBufferView<ArrayBuffer>): bigint => {
  result.set(new BigUint64Array(value.buffer));
  return result[0];
};
const bytesOf = (low: bigint, high: bigint): Bytes => new Uint8Array(BigUint64Array.of(low, high).buffer);
const wordsOf = (low: bigint, high: bigint): Words => new Uint32Array(BigUint64Array.of(low, high).buffer);

/** (a low, a high, b low, b high) → low half, but for those that say otherwise. */
export const CRYPTO_CALLS: Record<string, CallSpec> = {
  upperHalf: { args: 0, result: true, run: () => result[1] },
  ...Object.fromEntries(
    Object.entries(aes).map(([name, f]): [string, CallSpec] => [
      name,
      { args: 4, result: true, run: (_, a0, a1, b0, b1) => give(f(bytesOf(a0, a1), bytesOf(b0, b1))) },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(sha).map(([name, f]): [string, CallSpec] => [
      name,
      { args: 4, result: true, run: (_, a0, a1, b0, b1) => give(f(wordsOf(a0, a1), wordsOf(b0, b1))) },
    ]),
  ),
  /** (b low, b high, imm) */
  aeskeygenassist: {
    args: 3,
    result: true,
    run: (_, b0, b1, imm) => give(keyAssist(bytesOf(b0, b1), Number(imm & 0xffn))),
  },
  /** (a, b, imm) */
  sha1rnds4: {
    args: 5,
    result: true,
    run: (_, a0, a1, b0, b1, imm) => give(sha1Rounds(wordsOf(a0, a1), wordsOf(b0, b1), Number(imm & 3n))),
  },
  /** (a, b, XMM0 low) */
  sha256rnds2: {
    args: 5,
    result: true,
    run: (_, a0, a1, b0, b1, keys) => give(sha256Rounds(wordsOf(a0, a1), wordsOf(b0, b1), wordsOf(keys, 0n))),
  },
  /** (a half of each) */
  pclmulqdq: {
    args: 2,
    result: true,
    run(_, a, b) {
      let product = 0n;
      const wide = BigInt.asUintN(64, a);
      for (let i = 0n; i < 64n; i++) if ((b >> i) & 1n) product ^= wide << i;
      return give(BigUint64Array.of(BigInt.asUintN(64, product), product >> 64n));
    },
  },
};

// ——— semantics ———
const half = <V>(s: Sem<V>, v: V, n: number): V => s.lane("i64x2", v, n);
function finish<V>(s: Sem<V>, low: V): void {
  const high = s.call("upperHalf");
  s.put(0, s.withLane("i64x2", s.withLane("i64x2", s.vectorConst(0n, 0n), 0, low), 1, high));
}
const halves = <V>(s: Sem<V>, ...values: V[]): V[] => values.flatMap((v) => [half(s, v, 0), half(s, v, 1)]);

/** Two operands, the first one written too. */
export const cryptoBinary = (name: string): Semantics =>
  semantics("xr", (s) => finish(s, s.call(name, ...halves(s, s.get(0), s.get(1)))));
export const AESIMC = semantics("wr", (s) => {
  const v = s.get(1);
  finish(s, s.call("aesimc", ...halves(s, v, v)));
});
export const AESKEYGENASSIST = semantics("wrr", (s) =>
  finish(s, s.call("aeskeygenassist", ...halves(s, s.get(1)), s.get(2))),
);
export const SHA1RNDS4 = semantics("xrr", (s) =>
  finish(s, s.call("sha1rnds4", ...halves(s, s.get(0), s.get(1)), s.get(2))),
);
export const SHA256RNDS2 = semantics("xrr", (s) =>
  finish(s, s.call("sha256rnds2", ...halves(s, s.get(0), s.get(1)), half(s, s.get(2), 0))),
);
function chosenHalf<V>(s: Sem<V>, v: V, imm: V, bit: number): V {
  return s.select(s.and(imm, s.const(bit)), half(s, v, 1), half(s, v, 0));
}
/** imm[0] and imm[4] say which halves. */
export const PCLMULQDQ = semantics("xrr", (s) => {
  const [a, b, imm] = [s.get(0), s.get(1), s.get(2)];
  finish(s, s.call("pclmulqdq", chosenHalf(s, a, imm, 1), chosenHalf(s, b, imm, 0x10)));
});
