/* REP MOVS and REP STOS in pieces that end at page boundaries. Only what is sure to go as element by element would: upwards, RAM on both sides, no decoded code
 * written, no overlap that feeds on itself. The rest, faults included, is left to the instruction's description, which runs afterwards with
 * the registers as they were left here. @source SDM vol. 2B "MOVS", "STOS", "REP" */
import { Reg } from "../../isa/registers.ts";
import type { FramePool } from "../../memory/frames.ts";
import type { WasmVcpu } from "./vcpu.ts";

const PAGE = 4096;
const TWO_32 = 0x1_0000_0000;
/** Bytes in one go: interrupts wait no longer than this takes. */
const MOST_BYTES = 65536;
const RCX = Reg.GPR + 8;
const RSI = Reg.GPR + 8 * 6;
const RDI = Reg.GPR + 8 * 7;

/** Elements to do: RCX, bounded. */
function wanted(vcpu: WasmVcpu, size: number): number {
  const { view } = vcpu.regs;
  const most = MOST_BYTES / size;
  if (view.getUint32(RCX + 4, true) === 0 && view.getUint32(RCX, true) <= most) return view.getUint32(RCX, true);
  vcpu.retirement.endSlice();
  return most;
}
function addTo(view: DataView, register: number, n: number): void {
  const low = view.getUint32(register, true) + n;
  if (low >= 0 && low < TWO_32) view.setUint32(register, low, true);
  else {
    view.setUint32(register, low >>> 0, true);
    view.setInt32(register + 4, view.getInt32(register + 4, true) + Math.floor(low / TWO_32), true);
  }
}
/** Whole elements from the register's address to the end of its page. */
const elementsInPage = (view: DataView, register: number, size: number): number =>
  Math.floor((PAGE - (view.getUint32(register, true) & (PAGE - 1))) / size);

export function bulkMove(vcpu: WasmVcpu, bytes: Uint8Array, size: number): void {
  const { view } = vcpu.regs;
  for (let left = wanted(vcpu, size); left > 0;) {
    const n = Math.min(left, elementsInPage(view, RSI, size), elementsInPage(view, RDI, size));
    if (n === 0) return; // an element across pages
    const from = vcpu.mmu.hostAddress(view.getInt32(RSI, true), view.getInt32(RSI + 4, true), false);
    if (from < 0) return;
    const to = vcpu.mmu.hostAddress(view.getInt32(RDI, true), view.getInt32(RDI + 4, true), true);
    if (to < 0 || (to > from && to < from + n * size)) return;
    bytes.copyWithin(to, from, from + n * size);
    advance(view, n, size, true);
    left -= n;
  }
}

export function bulkStore(vcpu: WasmVcpu, pool: FramePool, size: number): void {
  const { view } = vcpu.regs;
  for (let left = wanted(vcpu, size); left > 0;) {
    const n = Math.min(left, elementsInPage(view, RDI, size));
    if (n === 0) return;
    const to = vcpu.mmu.hostAddress(view.getInt32(RDI, true), view.getInt32(RDI + 4, true), true);
    if (to < 0) return;
    fill(view, pool, to, n, size);
    advance(view, n, size, false);
    left -= n;
  }
}
/** Writes n times the low `size` bytes of RAX; the first by hand, then doubling what is there. */
function fill(view: DataView, pool: FramePool, to: number, n: number, size: number): void {
  if (size === 1) {
    pool.bytes.fill(view.getUint8(Reg.GPR), to, to + n);
    return;
  }
  for (let i = 0; i < size; i++) pool.bytes[to + i] = view.getUint8(Reg.GPR + i);
  for (let done = size; done < n * size;) {
    const piece = Math.min(done, n * size - done);
    pool.bytes.copyWithin(to + done, to, to + piece);
    done += piece;
  }
}

function advance(view: DataView, n: number, size: number, withSource: boolean): void {
  addTo(view, RCX, -n);
  addTo(view, RDI, n * size);
  if (withSource) addTo(view, RSI, n * size);
}
