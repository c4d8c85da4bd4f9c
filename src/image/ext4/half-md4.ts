/* The hash by which ext4 orders the names of a large directory: half MD4 with a seed, over signed bytes. @source Linux fs/ext4/hash.c (__ext4fs_dirhash,
 * DX_HASH_HALF_MD4). Leaves out the other hashes: the superblock that Mere writes names this one. */

const K2 = 0x5a827999;
const K3 = 0x6ed9eba1;
/** What the kernel takes for the end of a directory must not be a name's hash. */
const EOF_HASH = 0xfffffffe;

export interface NameHash {
  /** Unsigned, its lowest bit clear: the index uses that bit for itself. */
  readonly major: number;
  readonly minor: number;
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
type Mix = (x: number, y: number, z: number) => number;
const F: Mix = (x, y, z) => z ^ (x & (y ^ z));
const G: Mix = (x, y, z) => ((x & y) + ((x ^ y) & z)) | 0;
const H: Mix = (x, y, z) => x ^ y ^ z;
/** Each round: its function, its constant, the order of the words and the four rotations, which repeat. */
const ROUNDS: readonly (readonly [Mix, number, readonly number[], readonly number[]])[] = [
  [F, 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]],
  [G, K2, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]],
  [H, K3, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]],
];

/** @param name one character a byte @param seed four words of the superblock */
export function hashName(name: string, seed: readonly number[]): NameHash {
  const state = [seed[0]! | 0, seed[1]! | 0, seed[2]! | 0, seed[3]! | 0];
  const words = new Int32Array(8);
  for (let at = 0; at < name.length; at += 32) {
    fillWords(words, name, at);
    transform(state, words);
  }
  const major = (state[1]! & ~1) >>> 0;
  return { major: major === EOF_HASH ? EOF_HASH - 2 : major, minor: state[2]! >>> 0 };
}

/** Up to 32 bytes of the name as big-endian words; what is missing is filled with the length that is left. */
function fillWords(words: Int32Array, name: string, at: number): void {
  const left = name.length - at;
  const pair = left | (left << 8);
  const pad = pair | (pair << 16);
  const length = Math.min(left, 32);
  let value = pad;
  let filled = 0;
  for (let i = 0; i < length; i++) {
    value = (((name.charCodeAt(at + i) << 24) >> 24) + (value << 8)) | 0;
    if (i % 4 === 3) {
      words[filled++] = value;
      value = pad;
    }
  }
  if (filled < 8) words[filled++] = value;
  words.fill(pad, filled);
}

function transform(state: number[], words: Int32Array): void {
  let [a, b, c, d] = state as [number, number, number, number];
  for (const [mix, constant, order, rotations] of ROUNDS)
    for (let i = 0; i < 8; i++) {
      const next = rotate((a + mix(b, c, d) + words[order[i]!]! + constant) | 0, rotations[i % 4]!);
      [a, b, c, d] = [d, next, b, c];
    }
  state[0] = (state[0]! + a) | 0;
  state[1] = (state[1]! + b) | 0;
  state[2] = (state[2]! + c) | 0;
  state[3] = (state[3]! + d) | 0;
}
