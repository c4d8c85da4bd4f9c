/* From one block to another whose place is not known: by the code cache, and by the jump cache. @source docs/native.md; wasm/jump-cache.ts */
import { Reg } from "../../isa/registers.ts";
import {
  CODE_CACHE_ENTRIES,
  CodeCacheEntry,
  Engine,
  Entry,
  JUMP_CACHE_ENTRIES,
  REGION_HANDLERS,
  VCPU_CODE_CACHE,
  VCPU_JUMP_CACHE,
} from "../wasm/layout.ts";
import { RegionEntry } from "../wasm/translator/region-entry.ts";
import { type Assembler, Cc, Host, memory, register, type RegisterOrMemory, W } from "./assembler.ts";
import { ADDRESS, CodeKey, Frame, HOST_OF, Left, Native, SCRATCH } from "./layout.ts";
import { compareCanonical, field, inFrame, leave, PAGE_VA, TEMP, W16 } from "./operands.ts";
import type { Routines } from "./routines.ts";

const { RCX } = Host;
const RSP = 4;
const JUMP_TAG = 8;
const JUMP_ENTRY = 12;
const TAG_SHIFT = 5;
/** Of the code cache: entries are found by the upper bits of RIP's lower half times this. */
const HASH = 0x9e3779b1 | 0;
const HASH_BITS = Math.log2(CODE_CACHE_ENTRIES * CodeCacheEntry.BYTES);

/** To RIP in ADDRESS, by the jump cache. */
export function writeLookup(
  a: Assembler,
  stateAddress: bigint,
  exits: { readonly out: number; readonly lookUp: number; interpretAt(this: void): void },
): ReturnType<typeof writeLandings> & Pick<Routines, "gone" | "lookup"> {
  const takeTarget = (): void => {
    a.byte(0x58); // pop rax
    a.op(0x63, ADDRESS, memory(SCRATCH, 0), W);
    a.op(0x03, ADDRESS, PAGE_VA, W);
  };
  const gone = a.at;
  takeTarget();
  const lookup = a.at;
  a.arithmetic(7, field(Reg.ATTENTION), 0, false);
  a.branch(Cc.NZ, exits.lookUp);
  a.store64(TEMP, RCX);
  a.moveRegister(SCRATCH, ADDRESS);
  a.shift(5, register(SCRATCH), 12, true);
  a.op(0x31, ADDRESS, register(SCRATCH)); // the low halves
  a.op(0x85, ADDRESS, register(ADDRESS), W);
  const upper = a.branchAhead(Cc.S);
  a.load32(RCX, field(Engine.CODE_TAG));
  a.shift(4, register(RCX), TAG_SHIFT);
  a.op(0x31, RCX, register(SCRATCH));
  a.bind(upper);
  a.arithmetic(4, register(SCRATCH), JUMP_CACHE_ENTRIES - 1, false);
  a.shift(4, register(SCRATCH), 4);
  const cached = (at: number) => field(VCPU_JUMP_CACHE + at, SCRATCH);
  a.op(0x39, ADDRESS, cached(0), W);
  const another = a.branchAhead(Cc.NZ);
  a.load32(RCX, cached(JUMP_TAG));
  a.op(0x3b, RCX, field(Engine.CODE_TAG));
  const valid = a.branchAhead(Cc.Z);
  a.op(0x3b, RCX, field(Engine.CODE_TAG_GLOBAL));
  const old = a.branchAhead(Cc.NZ);
  a.bind(valid);
  writeGo(a, stateAddress, exits.out);
  a.bind(another);
  a.bind(old);
  a.load64(RCX, TEMP);
  a.jump(exits.lookUp);

  return { gone, lookup, ...writeLandings(a, lookup, takeTarget, exits.interpretAt) };
}
const JUMP_BYTES = 2;
/** The ways to it, for who knows the place but not where its code is. */
function writeLandings(
  a: Assembler,
  lookup: number,
  takeTarget: () => void,
  interpretAt: () => void,
): Pick<Routines, "goTo" | "land" | "landInKernel" | "landChecked" | "landInKernelChecked"> {
  const goTo = a.at;
  takeTarget();
  a.op(0x85, ADDRESS, register(ADDRESS), W);
  const upper = a.branchAhead(Cc.S);
  for (const kernel of [false, true]) {
    if (kernel) a.bind(upper);
    writeFindByCache(a, kernel, 0, () => a.raw(0xff, 0xe0)); // jmp rax
    a.jump(lookup);
  }
  const comeBack = (): void => a.byte(0xc3);
  const land = (kernel: boolean): number => {
    const { at } = a;
    writeFindByCache(a, kernel, 1, comeBack);
    a.byte(0x58); // pop rax
    a.jump(lookup);
    return at;
  };
  const landChecked = (kernel: boolean): number => {
    const { at } = a;
    // before it is looked up: with another upper half RIP could be what the cache has of another tag
    compareCanonical(a);
    const invalid = a.branchAhead(Cc.NZ);
    writeFindByCache(a, kernel, 1, comeBack);
    a.byte(0x58);
    a.jump(lookup);
    a.bind(invalid);
    a.byte(0x58);
    a.arithmetic(0, register(SCRATCH), JUMP_BYTES);
    a.op(0x63, ADDRESS, memory(SCRATCH, 4), W);
    a.op(0x2b, HOST_OF[RSP], register(ADDRESS), W);
    interpretAt();
    return at;
  };
  return {
    goTo,
    land: land(false),
    landInKernel: land(true),
    landChecked: landChecked(false),
    landInKernelChecked: landChecked(true),
  };
}
/** The distance of the code cache's entry for RIP in ADDRESS, to SCRATCH. */
function loadPlace(a: Assembler): void {
  a.op(0x69, SCRATCH, register(ADDRESS)); // imul
  a.word(HASH);
  a.shift(5, register(SCRATCH), 32 - HASH_BITS);
  a.arithmetic(4, register(SCRATCH), -CodeCacheEntry.BYTES & ((1 << HASH_BITS) - 1), false);
}
const code = (at: number): RegisterOrMemory => field(VCPU_CODE_CACHE + at, SCRATCH);
/** The address of the code for RIP in ADDRESS to SCRATCH, by the code cache. ADDRESS and flags are lost.
 *  @param kernel is RIP most likely in global pages of the kernel?  @param depth of the stack  @param found writes what is done then; where RIP is not in the cache it goes on behind that, with RIP in ADDRESS */
function writeFindByCache(a: Assembler, kernel: boolean, depth: number, found: () => void): void {
  const key = field(kernel ? CodeKey.GLOBAL : CodeKey.OWN);
  a.op(0x33, ADDRESS, key, W);
  a.arithmetic(7, field(Reg.ATTENTION), 0, false);
  const attention = a.branchAhead(Cc.NZ);
  loadPlace(a);
  a.op(0x3b, ADDRESS, code(CodeCacheEntry.KEY), W);
  const another = a.branchAhead(Cc.NZ);
  a.load64(SCRATCH, code(CodeCacheEntry.CODE));
  a.op(0x33, ADDRESS, key, W);
  a.arithmetic(4, register(ADDRESS), -4096);
  a.store64(inFrame(Frame.PAGE_VA, depth), ADDRESS);
  found();
  a.bind(attention);
  a.bind(another);
  a.op(0x33, ADDRESS, key, W);
}
/** SCRATCH is the distance of an entry of the jump cache that is the one for ADDRESS, RCX its tag; RCX is in TEMP. What is found is noted in the code cache. */
function writeGo(a: Assembler, stateAddress: bigint, out: number): void {
  a.store32(field(Native.TEMP3), RCX);
  a.load32(SCRATCH, field(VCPU_JUMP_CACHE + JUMP_ENTRY, SCRATCH));
  a.moveAddress(RCX, stateAddress);
  a.op(0x81, 7, memory(RCX, Entry.HANDLER, SCRATCH), W16);
  a.raw(REGION_HANDLERS & 0xff, REGION_HANDLERS >> 8);
  const cold = a.branchAhead(Cc.NZ);
  a.load32(RCX, memory(RCX, RegionEntry.LABEL, SCRATCH));
  a.op(0x03, RCX, field(Native.CODE), W);
  loadPlace(a);
  a.store64(code(CodeCacheEntry.CODE), RCX);
  a.load32(RCX, field(Native.TEMP3));
  a.shift(4, register(RCX), 48, true);
  a.op(0x33, RCX, register(ADDRESS), W);
  a.store64(code(CodeCacheEntry.KEY), RCX);
  a.moveRegister(RCX, ADDRESS);
  a.arithmetic(4, register(RCX), -4096);
  a.store64(PAGE_VA, RCX);
  a.load64(RCX, TEMP);
  a.op(0xff, 4, code(CodeCacheEntry.CODE)); // jmp
  a.bind(cold);
  a.moveRegister(RCX, ADDRESS);
  a.arithmetic(4, register(RCX), -4096);
  a.store64(PAGE_VA, RCX);
  a.store32(field(Native.ENTRY), SCRATCH);
  a.store64(field(Reg.RIP), ADDRESS);
  a.load64(RCX, TEMP);
  leave(a, Left.ENTRY, out);
}
