/* XSAVE64 and XRSTOR64 as kernels use them at each switch of tasks, described in full: x87 and SSE state, all of it, with nothing pending.
 * What is not so goes to the calls (x87/xsave.ts), which do all of it, draw the area and are the reference.
 * @source SDM vol. 1 §10.5.1, §13.4, §13.7, §13.8 */
import { Reg } from "../registers.ts";
import { semantics, type Sem, type Semantics } from "../sem.ts";

const CR0_TS = 8;
const CR4_OSXSAVE = 1 << 18;
const X87_AND_SSE = 3;
/** So that none of the accesses crosses a page. */
const ALIGNMENT = 64;
const MXCSR_MASK = 0xffffn;
const FCW_BITS = 0x1f3fn;
const FCW_SET = 0x40n;
const FSW_EXCEPTIONS = 0x3fn;
/** ES and B. */
const FSW_SUMMARY = 0x8080n;
const FOP_BITS = 0x7ffn;
/** Offsets in the area. */
const At = { TAGS_SHIFT: 32n, FOP_SHIFT: 48n, FIP: 8, FDP: 16, MXCSR: 24, ST: 32, XMM: 160, HEADER: 512 } as const;
const LEGACY_BYTES = 416;
const RAX = 0;
const TOP_SHIFT = 27;
const NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;

const isUsual = <V>(s: Sem<V>, address: V): V => {
  const features = s.and(s.and(s.reg(RAX, 4), s.field(Reg.XCR0, 4)), s.const(X87_AND_SSE));
  const isAligned = s.isZero(s.and(address, s.const(ALIGNMENT - 1)));
  const allowed = s.and(
    s.ne(s.and(s.field(Reg.CR4, 4), s.const(CR4_OSXSAVE)), s.const(0)),
    s.isZero(s.and(s.field(Reg.CR0, 4), s.const(CR0_TS))),
  );
  return s.and(s.and(s.eq(features, s.const(X87_AND_SSE)), isAligned), allowed);
};
const at = <V>(s: Sem<V>, address: V, offset: number): V => s.add(address, s.const(offset));
/** Physical number of ST(i). @param word FCW and FSW, as in the register file */
const stackRegister = <V>(s: Sem<V>, word: V, i: number): V =>
  s.and(s.add(s.shrU(word, s.const(TOP_SHIFT)), s.const(i)), s.const(7));

/** FTW's two bits a register, of which both set say "empty", as one that says "not empty". @param word with FTW in bits 32–47 */
function abridged<V>(s: Sem<V>, word: V): V {
  const tags = s.shrU(word, s.const(At.TAGS_SHIFT));
  let bits = s.and(s.not(s.and(tags, s.shrU(tags, s.const(1)))), s.const(0x5555));
  for (const [shift, mask] of [
    [1, 0x3333],
    [2, 0x0f0f],
    [4, 0x00ff],
  ] as const)
    bits = s.and(s.or(bits, s.shrU(bits, s.const(shift))), s.const(mask));
  return bits;
}
/** The reverse, in its place in the word. */
function fullTags<V>(s: Sem<V>, tags: V): V {
  let bits = tags;
  for (const [shift, mask] of [
    [4, 0x0f0f],
    [2, 0x3333],
    [1, 0x5555],
  ] as const)
    bits = s.and(s.or(bits, s.shl(bits, s.const(shift))), s.const(mask));
  return s.shl(s.xor(s.mul(bits, s.const(3)), s.const(0xffff)), s.const(At.TAGS_SHIFT));
}

function save<V>(s: Sem<V>, address: V): void {
  s.probeWrite(address, 8);
  s.probeWrite(at(s, address, LEGACY_BYTES - 8), 8);
  s.probeWrite(at(s, address, At.HEADER), 8);
  const header = s.load(at(s, address, At.HEADER), 8);
  const word = s.field(Reg.FCW, 8);
  const control = s.zext(word, 4);
  const opcode = s.and(word, s.const(FOP_BITS << At.FOP_SHIFT));
  s.store(address, 8, s.or(s.or(control, opcode), s.shl(abridged(s, word), s.const(At.TAGS_SHIFT))));
  s.store(at(s, address, At.FIP), 8, s.field(Reg.FIP, 8));
  s.store(at(s, address, At.FDP), 8, s.field(Reg.FDP, 8));
  s.store(at(s, address, At.MXCSR), 8, s.or(s.field(Reg.MXCSR, 4), s.const(MXCSR_MASK << 32n)));
  for (const i of NUMBERS) {
    const n = stackRegister(s, control, i);
    s.store(at(s, address, At.ST + 16 * i), 8, s.x87Word(n, 0));
    s.store(at(s, address, At.ST + 16 * i + 8), 8, s.zext(s.x87Word(n, 8), 2));
  }
  for (let i = 0; i < 16; i++) s.storeVector(at(s, address, At.XMM + 16 * i), s.xmm(i));
  s.store(at(s, address, At.HEADER), 8, s.or(header, s.const(X87_AND_SSE)));
}

/** @param image bytes 0–7  @param mxcsr bytes 24–27  @param fcw as it will be */
function restore<V>(s: Sem<V>, address: V, image: V, mxcsr: V, fcw: V): void {
  const pointers = [At.FIP, At.FDP].map((offset) => s.load(at(s, address, offset), 8));
  const stack = NUMBERS.map((i) => [0, 8].map((half) => s.load(at(s, address, At.ST + 16 * i + half), 8)));
  const vectors = Array.from({ length: 16 }, (_, i) => s.loadVector(at(s, address, At.XMM + 16 * i)));
  s.setField(Reg.MXCSR, 4, mxcsr);
  vectors.forEach((v, i) => s.setXmm(i, v));
  const status = s.and(image, s.const((0xffffn & ~FSW_SUMMARY) << 16n));
  const tags = fullTags(s, s.zext(s.shrU(image, s.const(At.TAGS_SHIFT)), 1));
  const opcode = s.and(image, s.const(FOP_BITS << At.FOP_SHIFT));
  s.setField(Reg.FCW, 8, s.or(s.or(fcw, status), s.or(tags, opcode)));
  s.setField(Reg.FIP, 8, pointers[0]!);
  s.setField(Reg.FDP, 8, pointers[1]!);
  stack.forEach(([low, high], i) => {
    const n = stackRegister(s, s.zext(image, 4), i);
    s.x87SetWord(n, 0, low!);
    s.x87SetWord(n, 8, s.zext(high!, 2));
  });
}

/** @param otherwise the form that is the call's */
export const xsaveOr = (otherwise: Semantics): Semantics =>
  semantics("-", (s) => {
    if (s.size !== 8) return otherwise.run(s);
    const address = s.linearAddress(0);
    s.when(
      isUsual(s, address),
      () => save(s, address),
      () => otherwise.run(s),
    );
  });

export const xrstorOr = (otherwise: Semantics): Semantics =>
  semantics("-", (s) => {
    if (s.size !== 8) return otherwise.run(s);
    const address = s.linearAddress(0);
    s.when(
      isUsual(s, address),
      () => {
        const [image, mxcsr] = [s.load(address, 8), s.load(at(s, address, At.MXCSR), 4)];
        const [present, ...reserved] = [0, 8, 16].map((offset) => s.load(at(s, address, At.HEADER + offset), 8));
        const fcw = s.or(s.and(image, s.const(FCW_BITS)), s.const(FCW_SET));
        const pending = s.and(s.and(s.shrU(image, s.const(16)), s.not(fcw)), s.const(FSW_EXCEPTIONS));
        const isRare = s.or(
          s.or(s.xor(present!, s.const(X87_AND_SSE)), s.or(reserved[0]!, reserved[1]!)),
          s.or(pending, s.shrU(mxcsr, s.const(16))),
        );
        s.when(
          s.isZero(isRare),
          () => restore(s, address, image, mxcsr, fcw),
          () => otherwise.run(s),
        );
      },
      () => otherwise.run(s),
    );
  });
