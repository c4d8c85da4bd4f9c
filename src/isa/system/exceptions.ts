/* Delivery of exceptions and interrupts through the 64-bit IDT. The engine calls deliver() between instructions, or when one ended in a GuestFault;
 * INT n and its like call deliverSoftware(). Runs on the executor's thread. Gates lead to CPL 0 or 3 code for 64-bit mode.
 * @source SDM vol. 3A §6.10–6.15
 *
 *   IDT gate:  63…48         47 46…45 44 43…40  39…35 34…32  31…16     15…0           then  95…64 offset 63–32
 *              offset 31–16  P  DPL   0  type   0     IST    selector  offset 15–0
 */
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { markAccessed, readDescriptor, requireLongCode, selectorFault, SystemType } from "./descriptors.ts";
import { isCanonical, requireCanonical } from "./linear-address.ts";

/** kind: "exception" faults and traps of the processor; "external" interrupts; "software" INT n, INT3, INTO (gate DPL is checked);
 *  "privileged-software" INT1 (it is not). */
export interface GuestEvent {
  readonly vector: number;
  readonly kind: "exception" | "software" | "external" | "nmi" | "privileged-software";
  readonly errorCode?: number | undefined;
  /** Linear address that goes to CR2 (#PF). */
  readonly address?: bigint | undefined;
  /** The exception is a trap between instructions (single step, data breakpoint): RIP is in Reg.RIP. */
  readonly trap?: boolean;
}

/** An exception while delivering #DF, or what has no way on: the processor shuts down. The engine ends run() with "shutdown". */
export class TripleFault extends Error {
  constructor(reason = "triple fault: the guest's exception handlers cannot be reached") {
    super(reason);
  }
}

const DR6_BD = 1 << 13;
const DR7_GD = 1 << 13;

/** RIP that goes on the stack. Between instructions the engine has written Reg.RIP. */
function savedRip(cpu: Cpu, event: GuestEvent): bigint {
  if (event.kind === "external" || event.kind === "nmi" || event.trap) return cpu.regs.get64(Reg.RIP);
  const isTrap = event.kind !== "exception" || event.vector === Vector.BP || event.vector === Vector.OF;
  return isTrap ? cpu.nextRip() : cpu.currentRip();
}

/** Is the RF bit set in the RFLAGS that go on the stack? For faults, so that the handler's IRET does not meet the same code breakpoint again;
 *  not for the code breakpoint itself. */
function setsResume(cpu: Cpu, event: GuestEvent): boolean {
  if (event.kind !== "exception" || event.trap || event.vector === Vector.BP || event.vector === Vector.OF)
    return false;
  return event.vector !== Vector.DB || (cpu.regs.get32(Reg.PENDING_DEBUG) & DR6_BD) !== 0;
}

/** Registers that change even if the delivery itself fails. */
function recordCause(cpu: Cpu, event: GuestEvent): void {
  const { regs } = cpu;
  if (event.vector === Vector.PF && event.address !== undefined) regs.set64(Reg.CR2, event.address);
  if (event.vector !== Vector.DB || event.kind !== "exception") return;
  const dr6 = Reg.DR + 8 * 6,
    dr7 = Reg.DR + 8 * 7;
  regs.set32(dr6, (regs.get32(dr6) & ~15) | regs.get32(Reg.PENDING_DEBUG));
  regs.set32(Reg.PENDING_DEBUG, 0);
  regs.set32(dr7, regs.get32(dr7) & ~DR7_GD);
}

/** A field of the TSS that holds a stack pointer. */
function stackFromTss(cpu: Cpu, offset: number): bigint {
  const tss = cpu.regs.segment(SegmentIndex.TR);
  if (offset + 7 > tss.limit) throw selectorFault(Vector.TS, tss.selector);
  const rsp = cpu.read(BigInt.asUintN(64, tss.base + BigInt(offset)), 8, "system");
  if (!isCanonical(rsp)) throw new GuestFault(Vector.SS, 0);
  return rsp;
}

interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly ist: number;
  readonly type: number;
}

function readGate(cpu: Cpu, event: GuestEvent): Gate {
  const { regs } = cpu;
  const inIdt = event.vector * 8 + 2;
  if (event.vector * 16 + 15 > regs.get32(Reg.IDTR_LIMIT)) throw new GuestFault(Vector.GP, inIdt);
  const address = BigInt.asUintN(64, regs.get64(Reg.IDTR_BASE) + BigInt(event.vector * 16));
  const low = cpu.read(address, 8, "system");
  const high = cpu.read(BigInt.asUintN(64, address + 8n), 8, "system");
  const word = Number(low >> 32n);
  const type = (word >> 8) & 31; // the S bit included, which must be 0
  if (type !== SystemType.INTERRUPT_GATE && type !== SystemType.TRAP_GATE) throw new GuestFault(Vector.GP, inIdt);
  const isSoftware =
    event.kind === "software" ||
    (event.kind === "exception" && (event.vector === Vector.BP || event.vector === Vector.OF));
  if (isSoftware && ((word >> 13) & 3) < regs.cpl) throw new GuestFault(Vector.GP, inIdt);
  if ((word & 0x8000) === 0) throw new GuestFault(Vector.NP, inIdt);
  const offset = ((high & 0xffff_ffffn) << 32n) | BigInt(((word & 0xffff_0000) | Number(low & 0xffffn)) >>> 0);
  return { selector: Number((low >> 16n) & 0xffffn), offset, ist: word & 7, type };
}

/** Enters the handler, or throws GuestFault with nothing changed but memory below the new stack pointer. */
function enter(cpu: Cpu, event: GuestEvent, rip: bigint, resume: boolean): void {
  const { regs } = cpu;
  const gate = readGate(cpu, event);
  if ((gate.selector & 0xfffc) === 0) throw new GuestFault(Vector.GP, 0);
  const code = readDescriptor(cpu, gate.selector);
  const cpl = regs.cpl;
  if (!code.isCode || code.dpl > cpl) throw selectorFault(Vector.GP, gate.selector);
  requireLongCode(code, gate.selector);
  const newCpl = code.isConforming ? cpl : code.dpl;
  if (newCpl === 1 || newCpl === 2) throw selectorFault(Vector.GP, gate.selector);
  const inward = newCpl < cpl;
  const stack =
    gate.ist !== 0 ? stackFromTss(cpu, 28 + 8 * gate.ist) : inward ? stackFromTss(cpu, 4 + 8 * newCpl) : regs.gpr(4);
  requireCanonical(gate.offset);
  markAccessed(cpu, code);

  const rflags = regs.rflags;
  const words = [
    BigInt(regs.get16(Reg.SEG + 16 * SegmentIndex.SS)),
    regs.gpr(4),
    BigInt((resume ? rflags | Rflags.RF : rflags) >>> 0),
    BigInt(regs.get16(Reg.SEG + 16 * SegmentIndex.CS)),
    rip,
  ];
  if (event.errorCode !== undefined) words.push(BigInt(event.errorCode >>> 0));
  let rsp = stack & ~15n;
  if (!isCanonical(rsp - BigInt(8 * words.length))) throw new GuestFault(Vector.SS, 0);
  for (const word of words) {
    rsp = BigInt.asUintN(64, rsp - 8n);
    cpu.write(rsp, 8, word, "system");
  }

  regs.setGpr(4, rsp);
  regs.setSegment(SegmentIndex.CS, code.segment((gate.selector & 0xfffc) | newCpl));
  if (inward) regs.setSegment(SegmentIndex.SS, { selector: newCpl, attributes: 0, limit: 0, base: 0n });
  const cleared =
    Rflags.TF | Rflags.NT | Rflags.RF | Rflags.VM | (gate.type === SystemType.INTERRUPT_GATE ? Rflags.IF : 0);
  regs.set32(Reg.RFLAGS, regs.get32(Reg.RFLAGS) & ~cleared);
  regs.set32(Reg.INTERRUPT_SHADOW, 0);
  if (event.kind === "nmi") regs.set32(Reg.NMI_BLOCKED, 1);
  if (inward) {
    regs.cpl = newCpl;
    cpu.modeChanged();
  }
  cpu.setRip(gate.offset);
}

const CONTRIBUTORY: ReadonlySet<number> = new Set([Vector.DE, Vector.TS, Vector.NP, Vector.SS, Vector.GP]);

/** What is delivered when delivering `first` met `second`. @source SDM vol. 3A table 6-5 */
function combine(first: GuestEvent, second: GuestFault): GuestEvent {
  const hardware = first.kind === "exception" || first.kind === "external" || first.kind === "nmi";
  const isFault = first.kind === "exception";
  const secondIsSerious = second.vector === Vector.PF || CONTRIBUTORY.has(second.vector);
  if (isFault && first.vector === Vector.DF && secondIsSerious) throw new TripleFault();
  const double =
    isFault &&
    ((CONTRIBUTORY.has(first.vector) && CONTRIBUTORY.has(second.vector)) ||
      (first.vector === Vector.PF && secondIsSerious));
  if (double) return { vector: Vector.DF, kind: "exception", errorCode: 0 };
  // EXT: the fault's cause is outside the program. #PF's error code has no such bit.
  const external = hardware && second.vector !== Vector.PF && second.errorCode !== undefined ? 1 : 0;
  return {
    vector: second.vector,
    kind: "exception",
    address: second.address,
    errorCode: second.errorCode === undefined ? undefined : second.errorCode | external,
  };
}

/** Delivers an event; faults on the way are delivered in its place, by the double-fault rules. Throws TripleFault.
 *  After it RIP, CPL and stack are the handler's. */
export function deliver(cpu: Cpu, event: GuestEvent): void {
  const rip = savedRip(cpu, event);
  for (let current = event; ;) {
    const resume = setsResume(cpu, current);
    recordCause(cpu, current);
    try {
      return enter(cpu, current, rip, resume);
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      // even if a double fault or a shutdown comes of it: footnote in SDM vol. 3A §6.15, "Page-Fault Exception"
      if (fault.vector === Vector.PF && fault.address !== undefined) cpu.regs.set64(Reg.CR2, fault.address);
      current = combine(current, fault);
    }
  }
}

/** Delivers a fault that an instruction ended in. */
export function deliverFault(cpu: Cpu, fault: GuestFault): void {
  deliver(cpu, { vector: fault.vector, kind: "exception", errorCode: fault.errorCode, address: fault.address });
}

/** INT n, INT3, INT1 from inside the instruction: throws GuestFault (a fault of the instruction itself) if the handler cannot be entered. */
export function deliverSoftware(cpu: Cpu, vector: number, kind: "software" | "privileged-software"): void {
  enter(cpu, { vector, kind }, cpu.nextRip(), false);
}
