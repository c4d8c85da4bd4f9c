/* LZMA2: chunks of LZMA or of plain bytes. The decoder behind xz, in which Linux images and modules come.
 * @source The .xz file format §5.3.1; LZMA specification (lzma-specification.txt). Blocking, decodes into the caller's buffer, which is its dictionary.
 * No library: those without native code either lack the x86 filter that kernels are compressed with, or bring dozens of packages. */
import { CompressionError } from "./compression-error.ts";

const STATES = 12;
const POS_STATES_MAX = 16;
const LOW_LENGTH_BITS = 3;
const HIGH_LENGTH_BITS = 8;
const LENGTH_STATES = 4;
const FULL_DISTANCES = 128;
const ALIGN_BITS = 4;
const MIN_MATCH = 2;
const PROBABILITY_INIT = 1 << 10;
/** LZMA2 allows lc + lp ≤ 4. */
const LITERAL_CODERS_MAX = 1 << 4;

// One array holds all probabilities; these are the parts' places in it.
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES_MAX;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const DISTANCE_SLOT = IS_REP0_LONG + STATES * POS_STATES_MAX;
const DISTANCE_SPECIAL = DISTANCE_SLOT + LENGTH_STATES * 64;
const DISTANCE_ALIGN = DISTANCE_SPECIAL + FULL_DISTANCES;
const MATCH_LENGTH = DISTANCE_ALIGN + (1 << ALIGN_BITS);
const LENGTH_LOW = 2;
const LENGTH_MID = LENGTH_LOW + (POS_STATES_MAX << LOW_LENGTH_BITS);
const LENGTH_HIGH = LENGTH_MID + (POS_STATES_MAX << LOW_LENGTH_BITS);
const LENGTH_SIZE = LENGTH_HIGH + (1 << HIGH_LENGTH_BITS);
const REP_LENGTH = MATCH_LENGTH + LENGTH_SIZE;
const LITERAL = REP_LENGTH + LENGTH_SIZE;
const PROBABILITIES = LITERAL + LITERAL_CODERS_MAX * 0x300;

/** Decodes one LZMA2 stream from `input[at]` on into `out` from `written` on.
 *  @returns where input and output ended  @throws CompressionError on damaged data or when `out` is too small */
export function decodeLzma2(
  input: Uint8Array,
  at: number,
  out: Uint8Array,
  written: number,
): { at: number; written: number } {
  const decoder = new LzmaDecoder(input, out, written);
  let needsProperties = true;
  let needsDictionary = true;
  const need = (n: number): void => {
    if (n > input.length - at) throw new CompressionError("LZMA2 data ends early");
  };
  for (;;) {
    need(1);
    const control = input[at++]!;
    if (control === 0) return { at, written: decoder.written };
    if (control >= 0xe0 || control === 1) {
      needsDictionary = false;
      decoder.dictionaryStart = decoder.written;
    } else if (needsDictionary) throw new CompressionError("LZMA2 data does not start with a dictionary reset");
    if (control < 0x80) {
      if (control > 2) throw new CompressionError("LZMA2 chunk of unknown kind");
      need(2);
      const length = ((input[at]! << 8) | input[at + 1]!) + 1;
      at += 2;
      need(length);
      decoder.copy(at, length);
      at += length;
      continue;
    }
    need(4);
    const unpacked = (((control & 0x1f) << 16) | (input[at]! << 8) | input[at + 1]!) + 1;
    const packed = ((input[at + 2]! << 8) | input[at + 3]!) + 1;
    at += 4;
    if (control >= 0xc0) {
      need(1);
      decoder.setProperties(input[at++]!);
      needsProperties = false;
    } else if (needsProperties) throw new CompressionError("LZMA2 data does not start with LZMA properties");
    if (control >= 0xa0) decoder.resetState();
    need(packed);
    decoder.chunk(at, packed, unpacked);
    at += packed;
  }
}

class LzmaDecoder {
  written: number;
  dictionaryStart: number;
  readonly #input: Uint8Array;
  readonly #out: Uint8Array;
  readonly #probs = new Uint16Array(PROBABILITIES);
  #at = 0;
  #end = 0;
  #range = 0;
  #code = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #lc = 0;
  #lpMask = 0;
  #posMask = 0;

  constructor(input: Uint8Array, out: Uint8Array, written: number) {
    this.#input = input;
    this.#out = out;
    this.written = written;
    this.dictionaryStart = written;
  }

  setProperties(byte: number): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > 4) throw new CompressionError("LZMA properties out of range");
    this.#lc = lc;
    this.#lpMask = (1 << lp) - 1;
    this.#posMask = (1 << pb) - 1;
  }

  resetState(): void {
    this.#state = this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
    this.#probs.fill(PROBABILITY_INIT);
  }

  /** A chunk of plain bytes. */
  copy(at: number, length: number): void {
    if (length > this.#out.length - this.written) throw new CompressionError("LZMA2 data is longer than it says");
    this.#out.set(this.#input.subarray(at, at + length), this.written);
    this.written += length;
  }

  /** A chunk of LZMA: exactly `packed` bytes in, exactly `unpacked` bytes out. */
  chunk(at: number, packed: number, unpacked: number): void {
    const limit = this.written + unpacked;
    if (limit > this.#out.length) throw new CompressionError("LZMA2 data is longer than it says");
    if (packed < 5 || this.#input[at] !== 0) throw new CompressionError("LZMA chunk does not start with zero");
    this.#end = at + packed;
    this.#range = 0xffffffff;
    this.#code = 0;
    for (let i = 1; i < 5; i++) this.#code = ((this.#code << 8) | this.#input[at + i]!) >>> 0;
    this.#at = at + 5;
    while (this.written < limit) this.#symbol(limit);
    this.#normalize();
    if (this.#at !== this.#end || this.#code !== 0) throw new CompressionError("LZMA chunk ends in the wrong place");
  }

  /** One literal, match or repeated match. */
  #symbol(limit: number): void {
    const posState = (this.written - this.dictionaryStart) & this.#posMask;
    const state = this.#state;
    if (this.#bit(IS_MATCH + state * POS_STATES_MAX + posState) === 0) return this.#literal();
    let length: number;
    if (this.#bit(IS_REP + state) === 0) {
      this.#rep3 = this.#rep2;
      this.#rep2 = this.#rep1;
      this.#rep1 = this.#rep0;
      length = this.#length(MATCH_LENGTH, posState);
      this.#state = state < 7 ? 7 : 10;
      this.#rep0 = this.#distance(length);
    } else {
      if (this.#bit(IS_REP0 + state) === 0) {
        if (this.#bit(IS_REP0_LONG + state * POS_STATES_MAX + posState) === 0) {
          this.#state = state < 7 ? 9 : 11;
          return this.#repeat(1, limit);
        }
      } else this.#rotateReps(state);
      length = this.#length(REP_LENGTH, posState);
      this.#state = state < 7 ? 8 : 11;
    }
    this.#repeat(length, limit);
  }

  #rotateReps(state: number): void {
    let distance: number;
    if (this.#bit(IS_REP1 + state) === 0) distance = this.#rep1;
    else {
      if (this.#bit(IS_REP2 + state) === 0) distance = this.#rep2;
      else {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
  }

  #literal(): void {
    const out = this.#out;
    const position = this.written - this.dictionaryStart;
    const previous = position > 0 ? out[this.written - 1]! : 0;
    const coder = LITERAL + 0x300 * (((position & this.#lpMask) << this.#lc) + (previous >>> (8 - this.#lc)));
    let symbol = 1;
    if (this.#state >= 7) {
      if (this.#rep0 >= position) throw new CompressionError("LZMA match lies before the dictionary");
      let matched = out[this.written - this.#rep0 - 1]!;
      do {
        const matchBit = (matched >>> 7) & 1;
        matched <<= 1;
        const bit = this.#bit(coder + ((1 + matchBit) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== matchBit) break;
      } while (symbol < 0x100);
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(coder + symbol);
    out[this.written++] = symbol;
    const state = this.#state;
    this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  }

  #length(at: number, posState: number): number {
    if (this.#bit(at) === 0)
      return MIN_MATCH + this.#tree(at + LENGTH_LOW + (posState << LOW_LENGTH_BITS), LOW_LENGTH_BITS);
    if (this.#bit(at + 1) === 0)
      return MIN_MATCH + 8 + this.#tree(at + LENGTH_MID + (posState << LOW_LENGTH_BITS), LOW_LENGTH_BITS);
    return MIN_MATCH + 16 + this.#tree(at + LENGTH_HIGH, HIGH_LENGTH_BITS);
  }

  #distance(length: number): number {
    const slot = this.#tree(DISTANCE_SLOT + Math.min(length - MIN_MATCH, LENGTH_STATES - 1) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >>> 1) - 1;
    const base = ((2 | (slot & 1)) << bits) >>> 0;
    if (slot < 14) return base + this.#reverseTree(DISTANCE_SPECIAL + base - slot, bits);
    return (
      base + this.#directBits(bits - ALIGN_BITS) * (1 << ALIGN_BITS) + this.#reverseTree(DISTANCE_ALIGN, ALIGN_BITS)
    );
  }

  /** Copies `length` bytes from rep0 + 1 back; the copy may overlap itself. */
  #repeat(length: number, limit: number): void {
    const from = this.written - this.#rep0 - 1;
    if (from < this.dictionaryStart) throw new CompressionError("LZMA match lies before the dictionary");
    if (length > limit - this.written) throw new CompressionError("LZMA match runs over its chunk's end");
    const out = this.#out;
    const to = this.written;
    for (let i = 0; i < length; i++) out[to + i] = out[from + i]!;
    this.written = to + length;
  }

  #tree(at: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(at + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(at: number, bits: number): number {
    let node = 1;
    let symbol = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(at + node);
      node = (node << 1) | bit;
      symbol |= bit << i;
    }
    return symbol;
  }

  #directBits(bits: number): number {
    let result = 0;
    for (let i = 0; i < bits; i++) {
      this.#normalize();
      this.#range >>>= 1;
      const bit = this.#code >= this.#range ? 1 : 0;
      if (bit) this.#code -= this.#range;
      result = result * 2 + bit;
    }
    return result;
  }

  #bit(index: number): 0 | 1 {
    if (this.#range < 0x1000000) this.#normalize();
    const probability = this.#probs[index]!;
    const bound = (this.#range >>> 11) * probability;
    if (this.#code < bound) {
      this.#range = bound;
      this.#probs[index] = probability + ((2048 - probability) >>> 5);
      return 0;
    }
    this.#range -= bound;
    this.#code -= bound;
    this.#probs[index] = probability - (probability >>> 5);
    return 1;
  }

  #normalize(): void {
    if (this.#range >= 0x1000000) return;
    if (this.#at >= this.#end) throw new CompressionError("LZMA chunk ends early");
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | this.#input[this.#at++]!) >>> 0;
  }
}
