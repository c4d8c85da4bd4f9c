/* FakeCpu: a Cpu over flat memory for the tests of this folder. Linear addresses are physical until `paged` is set; then the page walker
 * translates them. Everything asked of the outside is recorded. */
import { GuestFault, Vector, type Cpu, type Privilege } from "../cpu.ts";
import { RegisterFile } from "../register-file.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { cpuModel } from "./cpu-model.ts";
import { BOOT_GDT, initializeLongMode } from "./long-mode.ts";
import { Access, PagingMode, Translation, walk, type PhysicalReader } from "./paging.ts";

export const LAYOUT = {
  GDT: 0x1000,
  IDT: 0x2000,
  TSS: 0x4000,
  CODE: 0x8000,
  STACK: 0x20000,
  RSP0: 0x30000,
  IST1: 0x38000,
  SIZE: 0x80000,
} as const;
/** Selectors in the test GDT. */
export const SELECTOR = {
  KERNEL_CS: 0x10,
  KERNEL_DS: 0x18,
  USER_DS: 0x2b,
  USER_CS: 0x33,
  TSS: 0x38,
  CODE32: 0x4b,
  CONFORMING: 0x50,
  LDT: 0x58,
  ABSENT: 0x68,
} as const;

export class FlatMemory implements PhysicalReader {
  readonly view: DataView;
  /** Called before a compare-exchange: lets a test play another processor. */
  beforeExchange: () => void = () => undefined;

  constructor(size: number) {
    this.view = new DataView(new ArrayBuffer(size));
  }
  readLow(gpa: number): number {
    return gpa + 8 <= this.view.byteLength ? this.view.getUint32(gpa, true) : -1;
  }
  readHigh(gpa: number): number {
    return gpa + 8 <= this.view.byteLength ? this.view.getUint32(gpa + 4, true) : -1;
  }
  compareExchangeLow(gpa: number, expected: number, replacement: number): boolean {
    this.beforeExchange();
    if (this.view.getInt32(gpa, true) !== (expected | 0)) return false;
    this.view.setInt32(gpa, replacement, true);
    return true;
  }
}

export class FakeCpu implements Cpu {
  readonly regs = new RegisterFile(new ArrayBuffer(Reg.SIZE));
  readonly model = cpuModel(4);
  readonly memory = new FlatMemory(LAYOUT.SIZE);
  readonly mode = new PagingMode();
  readonly log: string[] = [];
  readonly deviceMsrs = new Map<number, bigint>();
  readonly ports = new Map<number, number>();
  paged = false;
  rip: bigint = BigInt(LAYOUT.CODE);
  length = 2;
  now = 1000n;
  tpr = 0;

  translate(address: bigint, access: Access, privilege: Privilege): number {
    if (!this.paged) {
      if (address + 8n > BigInt(LAYOUT.SIZE)) throw new GuestFault(Vector.PF, access === Access.WRITE ? 2 : 0, address);
      return Number(address);
    }
    this.mode.update(this.regs);
    const out = new Translation();
    const user = privilege === "current" && this.regs.cpl === 3;
    const ac = privilege === "current" && (this.regs.get32(Reg.RFLAGS) & Rflags.AC) !== 0;
    const low = Number(address & 0xffff_ffffn),
      high = Number((address >> 32n) & 0xffff_ffffn);
    if (!walk(this.memory, this.mode, high, low, access, user, ac, out))
      throw new GuestFault(Vector.PF, out.errorCode, address);
    return out.gpa;
  }
  read(address: bigint, size: number, privilege: Privilege = "current"): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) {
      value =
        (value << 8n) | BigInt(this.memory.view.getUint8(this.translate(address + BigInt(i), Access.READ, privilege)));
    }
    return value;
  }
  write(address: bigint, size: number, value: bigint, privilege: Privilege = "current"): void {
    this.probeWrite(address, size, privilege);
    for (let i = 0; i < size; i++) {
      this.memory.view.setUint8(
        this.translate(address + BigInt(i), Access.WRITE, privilege),
        Number((value >> BigInt(8 * i)) & 0xffn),
      );
    }
  }
  probeWrite(address: bigint, size: number, privilege: Privilege = "current"): void {
    for (let i = 0; i < size; i++) this.translate(address + BigInt(i), Access.WRITE, privilege);
  }
  nextRip(): bigint {
    return this.rip + BigInt(this.length);
  }
  currentRip(): bigint {
    return this.rip;
  }
  setRip(rip: bigint): void {
    this.rip = rip;
    this.regs.set64(Reg.RIP, rip);
  }
  flushTlb(scope: Parameters<Cpu["flushTlb"]>[0]): void {
    this.log.push(`flush ${Object.values(scope).join(" ")}`);
  }
  modeChanged(): void {
    this.log.push("mode");
  }
  tsc(): bigint {
    return BigInt.asUintN(64, this.now + this.regs.get64(Reg.TSC_OFFSET));
  }
  random64(): bigint {
    return 42n;
  }
  readDeviceMsr(index: number): bigint | undefined {
    return this.deviceMsrs.get(index);
  }
  writeDeviceMsr(index: number, value: bigint): boolean {
    if (!this.deviceMsrs.has(index)) return false;
    this.deviceMsrs.set(index, value);
    return true;
  }
  portIn(port: number): number {
    return this.ports.get(port) ?? 0xffff_ffff;
  }
  portOut(port: number, _size: 1 | 2 | 4, value: number): void {
    this.ports.set(port, value);
  }
  readTpr(): number {
    return this.tpr;
  }
  writeTpr(value: number): void {
    this.tpr = value;
  }
  hypercall(nr: bigint, a0: bigint): bigint {
    return nr + a0;
  }
  halt(): void {
    this.log.push("halt");
  }
  interruptsMayBeOpen(): void {
    this.log.push("open");
  }
}

/** 16-byte IDT gate. @param type 14 interrupt, 15 trap */
export function setGate(
  cpu: FakeCpu,
  vector: number,
  offset: bigint,
  options: { type?: number; dpl?: number; ist?: number; present?: boolean; selector?: number } = {},
): void {
  const { type = 14, dpl = 0, ist = 0, present = true, selector = SELECTOR.KERNEL_CS } = options;
  const word =
    (offset & 0xffffn) |
    (BigInt(selector) << 16n) |
    (BigInt(ist) << 32n) |
    (BigInt(type) << 40n) |
    (BigInt(dpl) << 45n) |
    (present ? 1n << 47n : 0n) |
    (((offset >> 16n) & 0xffffn) << 48n);
  cpu.memory.view.setBigUint64(LAYOUT.IDT + 16 * vector, word, true);
  cpu.memory.view.setBigUint64(LAYOUT.IDT + 16 * vector + 8, offset >> 32n, true);
}

/** A vCPU at CPL 0 with GDT, IDT (a gate a vector, handler at 0x10000 + 16·vector), TSS with RSP0 and IST1. */
export function fakeCpu(): FakeCpu {
  const cpu = new FakeCpu();
  const { regs, memory } = cpu;
  initializeLongMode(regs, {
    rip: BigInt(LAYOUT.CODE),
    rsp: BigInt(LAYOUT.STACK),
    rsi: 0n,
    cr3: 0n,
    gdtBase: BigInt(LAYOUT.GDT),
    apicId: 1,
  });
  const gdt = [
    ...BOOT_GDT,
    0n,
    0x00cf_f300_0000_ffffn,
    0x00af_fb00_0000_ffffn,
    0x0000_8900_4000_00ffn,
    0n,
    0x00cf_fb00_0000_ffffn,
    0x00af_9f00_0000_ffffn,
    0x0000_8200_5000_001fn,
    0n,
    0x00cf_7300_0000_ffffn,
  ];
  gdt.forEach((entry, i) => memory.view.setBigUint64(LAYOUT.GDT + 8 * i, entry, true));
  regs.set64(Reg.GDTR_LIMIT, BigInt(8 * gdt.length - 1));
  regs.set64(Reg.IDTR_BASE, BigInt(LAYOUT.IDT));
  regs.set64(Reg.IDTR_LIMIT, 0xfffn);
  for (let vector = 0; vector < 256; vector++) setGate(cpu, vector, BigInt(0x10000 + 16 * vector));
  regs.setSegment(SegmentIndex.TR, { selector: SELECTOR.TSS, attributes: 0x8b, limit: 0xff, base: BigInt(LAYOUT.TSS) });
  memory.view.setBigUint64(LAYOUT.TSS + 4, BigInt(LAYOUT.RSP0), true);
  memory.view.setBigUint64(LAYOUT.TSS + 36, BigInt(LAYOUT.IST1), true);
  memory.view.setUint16(LAYOUT.TSS + 0x66, 0x68, true);
  return cpu;
}

/** Puts the vCPU into user code, as an IRET to it would have. */
export function enterUser(cpu: FakeCpu, rflags: number = Rflags.IF | 2): void {
  const { regs } = cpu;
  regs.setSegment(SegmentIndex.CS, { selector: SELECTOR.USER_CS, attributes: 0xa0fb, limit: 0xffff_ffff, base: 0n });
  regs.setSegment(SegmentIndex.SS, { selector: SELECTOR.USER_DS, attributes: 0xc0f3, limit: 0xffff_ffff, base: 0n });
  regs.cpl = 3;
  regs.rflags = rflags;
}

/** The 8-byte words from RSP up. */
export function stackWords(cpu: FakeCpu, count: number): bigint[] {
  const rsp = Number(cpu.regs.gpr(4));
  return Array.from({ length: count }, (_, i) => cpu.memory.view.getBigUint64(rsp + 8 * i, true));
}

/** Pushes 8-byte words, the last one lowest. */
export function push(cpu: FakeCpu, ...words: bigint[]): void {
  for (const word of words) {
    cpu.regs.setGpr(4, cpu.regs.gpr(4) - 8n);
    cpu.memory.view.setBigUint64(Number(cpu.regs.gpr(4)), word, true);
  }
}

/** The GuestFault that an action ends in. */
export function faultOf(action: () => void): { vector: number; errorCode: number | undefined } {
  try {
    action();
  } catch (error) {
    if (error instanceof GuestFault) return { vector: error.vector, errorCode: error.errorCode };
    throw error;
  }
  throw new Error("no fault");
}
