/* RegisterFile: typed access to the bytes of registers.ts. Used off the fast path (system instructions, devices,
 * snapshots, debugger, tests). Values are bigint for 64-bit fields, number for the others. */
import { flagsOfHalves, packFlags } from "./flags.ts";
import { Reg, Rflags } from "./registers.ts";

export interface Segment {
  selector: number;
  /** Descriptor bits 40–47 in 0–7 and 52–55 in 12–15 (VMX access-rights order); bit 16 would be "unusable": attributes 0. */
  attributes: number;
  limit: number;
  base: bigint;
}

export class RegisterFile {
  readonly view: DataView;
  readonly bytes: Uint8Array;

  /** @param buffer holds the register file at byte `offset`, Reg.SIZE bytes long */
  constructor(buffer: ArrayBufferLike, offset = 0) {
    this.view = new DataView(buffer, offset, Reg.SIZE);
    this.bytes = new Uint8Array(buffer, offset, Reg.SIZE);
  }

  gpr(n: number): bigint {
    return this.view.getBigUint64(Reg.GPR + 8 * n, true);
  }
  setGpr(n: number, value: bigint): void {
    this.view.setBigUint64(Reg.GPR + 8 * n, BigInt.asUintN(64, value), true);
  }
  /** Any 64-bit field, unsigned. */
  get64(offset: number): bigint {
    return this.view.getBigUint64(offset, true);
  }
  set64(offset: number, value: bigint): void {
    this.view.setBigUint64(offset, BigInt.asUintN(64, value), true);
  }
  get32(offset: number): number {
    return this.view.getUint32(offset, true);
  }
  set32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }
  get16(offset: number): number {
    return this.view.getUint16(offset, true);
  }
  set16(offset: number, value: number): void {
    this.view.setUint16(offset, value, true);
  }
  get cpl(): number {
    return this.get32(Reg.CPL);
  }
  set cpl(value: number) {
    this.set32(Reg.CPL, value);
  }
  /** RFLAGS as the guest sees it: the lazy six and the rest. */
  get rflags(): number {
    const { view } = this;
    const arithmetic = flagsOfHalves(
      view.getInt32(Reg.FLAG_RESULT, true),
      view.getInt32(Reg.FLAG_RESULT + 4, true),
      view.getInt32(Reg.FLAG_AUX, true),
      view.getInt32(Reg.FLAG_AUX + 4, true),
    );
    return (this.get32(Reg.RFLAGS) & ~Rflags.OSZAPC) | 2 | arithmetic;
  }
  set rflags(value: number) {
    const { result, aux } = packFlags(value);
    this.set64(Reg.FLAG_RESULT, result);
    this.set64(Reg.FLAG_AUX, aux);
    this.set64(Reg.RFLAGS, BigInt(((value & ~Rflags.OSZAPC) | 2) >>> 0));
  }
  /** Segment register by SegmentIndex; FS and GS bases come from their slots. */
  segment(index: number): Segment {
    const at = Reg.SEG + 16 * index;
    const base = index === 4 ? this.get64(Reg.FS_BASE) : index === 5 ? this.get64(Reg.GS_BASE) : this.get64(at + 8);
    return { selector: this.get16(at), attributes: this.get16(at + 2), limit: this.get32(at + 4), base };
  }
  setSegment(index: number, s: Segment): void {
    const at = Reg.SEG + 16 * index;
    this.set16(at, s.selector);
    this.set16(at + 2, s.attributes);
    this.set32(at + 4, s.limit);
    if (index === 4) this.set64(Reg.FS_BASE, s.base);
    else if (index === 5) this.set64(Reg.GS_BASE, s.base);
    else this.set64(at + 8, s.base);
  }
}
