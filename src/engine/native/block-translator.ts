/* Translates a decoded block into native code: mostly the same instructions, with the guest's registers in others, and each access to memory through the TLB.
 * @source docs/native.md */
import type { Decoded } from "../../isa/decoded.ts";
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import { Cc } from "./assembler.ts";
import { Place, type Sites, StubKind } from "./block-emitter.ts";
import { FUEL } from "./operands.ts";
import { X87Instructions } from "./x87-instructions.ts";
import { readRaw } from "./raw.ts";
import { isSupported, treatment, Way } from "./supported.ts";


export class BlockTranslator extends X87Instructions {
  /** Offset where code goes that seldom runs: apart, so that what often runs is close together. */
  cold = 0;
  readonly #decoder = createDecoder();
  readonly d: Decoded = newDecoded();

  /** Writes a block: its instructions up to a jump, to one that is not supported, or to `limit`.
   *  @param bytes that have it  @param page offset in `bytes` of the page's first byte  @param from, limit offsets in the page  @param most instructions  @param kernel is it most likely the kernel's?
   *  @returns how many instructions it has, 0 if there is no supported one at `from`, the offset behind them in the page, and jumps to places in it */
  translate(
    bytes: Uint8Array,
    page: number,
    from: number,
    limit: number,
    most: number,
    kernel: boolean,
  ): { count: number; end: number; sites: Sites } {
    const { a, d } = this;
    this.bytes = bytes;
    this.kernel = kernel;
    this.beginStubs();
    this.sites = [];
    this.count = 0;
    if (!this.#next(page + from, page + limit)) return { count: 0, end: from, sites: this.sites };
    this.flags = Place.FILE;
    a.arithmetic(5, FUEL, 1, false);
    const fuel = a.at - 1;
    const none = a.branchAhead(Cc.S);
    this.stub(StubKind.FUEL, none, from, a.at);
    this.sseChecked = this.x87Checked = false;
    let ended = false;
    let at = from;
    do {
      this.offset = at;
      this.index = this.count++;
      if (this.treatment.sse && !this.sseChecked) this.checkSse();
      ended = this.#instruction(page + at);
      at += d.length;
    } while (!ended && !d.row.ends && this.count < most && at < limit && this.#next(page + at, page + limit));
    a.bytes[fuel] = this.count;
    if (!ended) {
      this.saveFlags();
      this.goTo(at);
    }
    const end = a.at;
    a.at = this.cold;
    this.writeStubs();
    this.cold = a.at;
    a.at = end;
    return { count: this.count, end: at, sites: this.sites };
  }
  /** Decodes the next instruction. @returns is it supported? */
  #next(at: number, limit: number): boolean {
    const { d } = this;
    if (this.#decoder.decode(this.bytes, at, limit, d) !== undefined || !isSupported(d)) return false;
    this.treatment = treatment(d.row);
    return true;
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
    const { d } = this;
    const { way } = this.treatment;
    if (way === Way.NOTHING) return false;
    if (this.treatment.x87) {
      this.x87(d, at);
      return false;
    }
    if (way !== Way.SAME) return this.own(d, at);
    readRaw(this.bytes, at, this.treatment.modrm, this.raw);
    this.same(d, at + d.length);
    return false;
  }
}
