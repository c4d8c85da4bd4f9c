/* Translates a decoded block into native code: mostly the same instructions, with the guest's registers in others, and each access to memory through the TLB.
 * @source docs/native.md */
import type { Decoded } from "../../isa/decoded.ts";
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import { Cc } from "./assembler.ts";
import { Place, type Site } from "./block-emitter.ts";
import { FUEL } from "./operands.ts";
import { X87Instructions } from "./x87-instructions.ts";
import { readRaw } from "./raw.ts";
import { isSupported, treatment, Way } from "./supported.ts";

const PAGE = 4096;

export class BlockTranslator extends X87Instructions {
  /** Offset where code goes that seldom runs: apart, so that what often runs is close together. */
  cold = 0;
  readonly #decoder = createDecoder();
  readonly #d: Decoded = newDecoded();

  /** Is there an instruction at an offset that can be a part of native code? */
  isSupportedAt(bytes: Uint8Array, at: number): boolean {
    const failure = this.#decoder.decode(bytes, at, bytes.length, this.#d);
    return failure === undefined && isSupported(this.#d);
  }

  /** Writes a block of supported instructions. @param bytes that have it  @param page offset in `bytes` of the page's first byte  @param from, to in the page
   *  @returns offset of its beginning in the code, and its jumps */
  translate(bytes: Uint8Array, page: number, from: number, to: number): { start: number; sites: readonly Site[] } {
    const a = this.a;
    this.bytes = bytes;
    this.stubs = [];
    this.sites = [];
    this.flags = Place.FILE;
    const start = a.at;
    a.arithmetic(5, FUEL, 1, false);
    const fuel = a.at - 1;
    this.stubs.push({ from: a.branchAhead(Cc.S), write: () => this.outOfFuel(from, body) });
    const body = a.at;
    this.sseChecked = this.x87Checked = false;
    let ended = false;
    this.index = 0;
    for (let at = from; at < to; this.index++) {
      this.#decoder.decode(bytes, page + at, page + Math.max(PAGE, to), this.#d);
      this.offset = at;
      this.treatment = treatment(this.#d.row);
      if (this.treatment.sse && !this.sseChecked) this.checkSse();
      ended = this.#instruction(page + at);
      at += this.#d.length;
    }
    this.count = this.index;
    a.bytes[fuel] = this.count;
    if (!ended) {
      this.saveFlags();
      this.goTo(to);
    }
    const end = a.at;
    a.at = this.cold;
    for (const stub of this.stubs) {
      a.bind(stub.from);
      stub.write();
    }
    this.cold = a.at;
    a.at = end;
    return { start, sites: this.sites };
  }
  /** Writes over a block whose code has changed: RIP is at `offset` of its page. @param start as from `translate`
   *  @returns offset of a displacement, for when there is code again */
  writeGone(start: number, offset: number): number {
    const a = this.a;
    const end = a.at;
    a.at = start;
    const at = a.jumpAhead();
    a.at = this.cold;
    a.bind(at);
    a.call(this.routines.gone);
    a.word(offset);
    this.cold = a.at;
    a.at = end;
    return at;
  }

  /** @returns has it left? */
  #instruction(at: number): boolean {
    const d = this.#d;
    const { way } = this.treatment;
    if (way === Way.NOTHING) return false;
    if (this.treatment.x87) {
      this.x87(d, at);
      return false;
    }
    if (way !== Way.SAME) return this.own(d, at);
    readRaw(this.bytes, at, this.treatment.modrm, this.raw);
    this.same(d, this.bytes.subarray(this.raw.immediate, at + d.length));
    return false;
  }
}
