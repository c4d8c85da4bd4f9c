/* What native code does where an access is not in the TLB: at its page's other place, by a page walk, and where it lies in two pages. @source docs/native.md */
import { Engine, Tlb, TLB_ENTRY_BYTES, TLB_OTHER } from "../wasm/layout.ts";
import { type Assembler, Cc, Host, memory, register, W } from "./assembler.ts";
import { ADDRESS, INDEX_MASK, INDEX_SHIFT, Info, Left, Native, SCRATCH } from "./layout.ts";
import { field, goToTarget, leave, loadSize, TLB_HOST, TLB_READ, TLB_WRITE, tlbField } from "./operands.ts";
import { type WalkAddresses, writePageWalk } from "./page-walk.ts";
import type { Routines } from "./routines.ts";

const { RCX, RDX, RSI, RSP } = Host;
const PAGE = 4096;

/** @param out where native code is left  @param takeInfo writes code that takes INFO from behind the call; RAX points there then
 *  @returns Routines.missed; and where it is left for what cannot be found */
export function writeMissed(
  a: Assembler,
  host: WalkAddresses,
  out: number,
  takeInfo: () => void,
): { readonly missed: number; readonly miss: number } {
  const missed = a.at;
  a.store64(field(Native.ADDRESS), ADDRESS);
  takeInfo();
  a.store64(field(Native.RESUME), SCRATCH);
  a.load32(ADDRESS, memory(SCRATCH, 4));
  a.store32(field(Native.TARGET), ADDRESS);
  writeOtherPlace(a);
  writePageWalk(a, host);
  a.load64(SCRATCH, field(Native.RESUME));
  a.test(field(Native.INFO), 1 << Info.SPLIT);
  const whole = a.branchAhead(Cc.Z);
  a.lea(SCRATCH, memory(SCRATCH, 8));
  a.store64(field(Native.RESUME), SCRATCH);
  a.load32(SCRATCH, field(Native.ADDRESS));
  a.arithmetic(4, register(SCRATCH), PAGE - 1, false);
  loadSize(a, ADDRESS);
  a.op(0x03, SCRATCH, register(ADDRESS));
  a.arithmetic(7, register(SCRATCH), PAGE, false);
  const inside = a.branchAhead(Cc.BE);
  a.op(0xff, 4, field(Native.RESUME)); // jmp
  a.bind(whole);
  a.bind(inside);
  const miss = a.at;
  a.test(field(Native.INFO), 1 << Info.OTHERS);
  const own = a.branchAhead(Cc.Z);
  a.load32(SCRATCH, field(Native.TARGET));
  a.store32(field(Engine.CROSSING), SCRATCH);
  leave(a, Left.INTERPRET, out);
  a.bind(own);
  leave(a, Left.MISS, out);
  return { missed, miss };
}

/** If the entry is at its page's other place (TLB_OTHER) it changes places with what is at the first, and the access is made again. */
function writeOtherPlace(a: Assembler): void {
  for (const r of [RCX, RDX]) a.byte(0x50 | r);
  a.load32(SCRATCH, field(Native.ADDRESS));
  a.shift(5, register(SCRATCH), INDEX_SHIFT);
  a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
  a.load32(RCX, register(SCRATCH));
  a.arithmetic(6, register(RCX), TLB_OTHER * TLB_ENTRY_BYTES, false);
  loadSize(a, ADDRESS);
  a.load64(RDX, field(Native.ADDRESS));
  a.lea(ADDRESS, memory(ADDRESS, -1, RDX));
  a.arithmetic(4, register(ADDRESS), -PAGE);
  a.test(field(Native.INFO), 1 << Info.WRITE);
  const read = a.branchAhead(Cc.Z);
  a.op(0x3b, ADDRESS, tlbField(Tlb.WRITE, RCX), W);
  a.bind(read);
  const noWrite = a.branchAhead(Cc.NZ);
  a.op(0x3b, ADDRESS, tlbField(Tlb.READ, RCX), W);
  const noRead = a.branchAhead(Cc.NZ);
  for (const word of Object.values(Tlb)) {
    a.load64(RDX, tlbField(word, SCRATCH));
    a.load64(ADDRESS, tlbField(word, RCX));
    a.store64(tlbField(word, RCX), RDX);
    a.store64(tlbField(word, SCRATCH), ADDRESS);
  }
  for (const r of [RDX, RCX]) a.byte(0x58 | r);
  goToTarget(a);
  a.bind(noWrite);
  a.bind(noRead);
  for (const r of [RDX, RCX]) a.byte(0x58 | r);
}
/** Copies bytes between Native.SPLIT and where the access is. What is not in the TLB any more is a miss. */
function writeSplitCopy(a: Assembler, out: boolean, miss: number): void {
  const kept = [RCX, RDX, RSI];
  if (out) a.byte(0x9c); // pushfq
  for (const r of kept) a.byte(0x50 | r);
  a.load64(ADDRESS, field(Native.ADDRESS));
  loadSize(a, RCX);
  const check = (): number => {
    a.load32(SCRATCH, register(ADDRESS));
    a.shift(5, register(SCRATCH), INDEX_SHIFT);
    a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
    a.moveRegister(RDX, ADDRESS);
    a.arithmetic(4, register(RDX), -PAGE);
    a.op(0x3b, RDX, out ? TLB_WRITE : TLB_READ, W);
    return a.branchAhead(Cc.NZ);
  };
  // the second page first: nothing is to be written if it cannot be
  a.lea(ADDRESS, memory(ADDRESS, -1, RCX));
  const second = check();
  a.load64(ADDRESS, field(Native.ADDRESS));
  loadSplit(a, RSI);
  const again = a.at;
  const gone = check();
  a.load64(SCRATCH, TLB_HOST);
  const there = memory(ADDRESS, 0, SCRATCH);
  a.op(0x0fb6, RDX, out ? memory(RSI, 0) : there);
  a.op(0x88, RDX, out ? there : memory(RSI, 0));
  a.arithmetic(0, register(RSI), 1);
  a.arithmetic(0, register(ADDRESS), 1);
  a.arithmetic(5, register(RCX), 1, false);
  a.branch(Cc.NZ, again);
  const end = a.jumpAhead();
  a.bind(second);
  a.bind(gone);
  for (const r of kept.toReversed()) a.byte(0x58 | r);
  a.arithmetic(0, register(RSP), out ? 16 : 8); // flags, and where it was called
  a.jump(miss);
  a.bind(end);
  for (const r of kept.toReversed()) a.byte(0x58 | r);
  if (out) a.byte(0x9d); // popfq
}
/** The host address of Native.SPLIT. */
function loadSplit(a: Assembler, to: number): void {
  a.load64(to, field(Native.FILE));
  a.lea(to, memory(to, Native.SPLIT));
}
export function writeSplits(a: Assembler, miss: number): Pick<Routines, "splitIn" | "splitAddress" | "splitOut"> {
  const splitIn = a.at;
  writeSplitCopy(a, false, miss);
  const splitAddress = a.at;
  loadSplit(a, ADDRESS);
  a.op(0x2b, ADDRESS, field(Native.ADDRESS), W);
  a.byte(0xc3);
  const splitOut = a.at;
  writeSplitCopy(a, true, miss);
  a.byte(0xc3);
  return { splitIn, splitAddress, splitOut };
}
