/* Native code that all blocks share: the way in, the ways out, and from one block to another whose place is not known. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import { Engine } from "../wasm/layout.ts";
import { type Assembler, Cc, Host, memory, register, type RegisterOrMemory, W } from "./assembler.ts";
import { writeLookup } from "./code-lookup.ts";
import { ADDRESS, BANK, Context, Frame, FRAME_GPRS, HOST_OF, IN_MEMORY, Left, Native, SCRATCH } from "./layout.ts";
import { field, FLAGS, FUEL, goToTarget, gprWord, inFrame, leave, PAGE_VA, W16 } from "./operands.ts";
import type { WalkAddresses } from "./page-walk.ts";
import { writeMissed, writeSplits } from "./tlb-misses.ts";
import { writeX87Load, writeX87Save } from "./x87-registers.ts";

/** Offsets in the code. */
export interface Routines {
  /** (RDI: a Context) → Left; a function of the C ABI. */
  readonly enter: number;
  /** Called; the host's x87 registers are the guest's then. */
  readonly x87Load: number;
  /** Jumped to, with RIP in R13. */
  readonly lookup: number;
  /** Called; behind the call stands RIP's distance from PAGE_VA, i32. */
  readonly goTo: number;
  /** Called, with RIP in R13, which is canonical; it comes back with the address of its code in RAX, if that is known, and behind the call stands a jump there: the processor can predict
   *  where each of them goes. The second one is for what most likely is code of the kernel's. */
  readonly land: number;
  readonly landInKernel: number;
  /** The same where RIP may not be canonical. INFO stands behind the jump, and what has been added to the guest's RSP, i32, which is taken back then. */
  readonly landChecked: number;
  readonly landInKernelChecked: number;
  /** As goTo, where the code at RIP has changed: what the jump cache has must be looked at. */
  readonly gone: number;
  /** Called; INFO and the address where to begin again stand behind the call; R13 is the address. */
  readonly missed: number;
  /** Called where an access lies in two pages: its bytes are in Native.SPLIT then, or will be, and R13 is what has to be added to its address to have it there. */
  readonly splitIn: number;
  readonly splitAddress: number;
  /** Called: Native.SPLIT goes to where the access is. */
  readonly splitOut: number;
  /** Called; INFO stands behind the call. */
  readonly interpret: number;
  /** Called; nanoseconds of the host's monotonic clock in RAX. */
  readonly clock: number;
  /** Called where a block's instructions were more than the fuel that was left; behind the call stand the block's offset in the page, u16, their number, u16, and what is done if there was
   *  some. */
  readonly fuelOut: number;
}

const { RAX, RCX, RBX, RSP, RBP, R12, R13, R14, R15, RDI, RSI } = Host;
const SAVED: readonly number[] = [RBX, RBP, R12, R13, R14, R15];
const XMMS = 16;
/** What they are to know of the host: addresses of the memories and of clock_gettime(2). */
export interface HostAddresses {
  readonly stateAddress: bigint;
  readonly clockAddress: bigint;
  /** Of GuestRam's tables. */
  readonly tablesAddress: bigint;
}

/** Host registers that a function of the C ABI may change, with the guest's registers that are in them. */
const VOLATILE = HOST_OF.flatMap((host, n) => (host === IN_MEMORY || SAVED.includes(host) ? [] : [[host, n] as const]));
const CLOCK_MONOTONIC = 1;
const [SECONDS, NANOSECONDS] = [0, 8];

const GUESTS = HOST_OF.flatMap((host, n) => (host === IN_MEMORY ? [] : [[host, n] as const]));

/** The frame from TEMP on: an access that is not in the TLB may be in the middle of a block, which goes on afterwards. XMM0 is lost. */
function copyScratch(a: Assembler, from: (at: number) => RegisterOrMemory, to: (at: number) => RegisterOrMemory): void {
  for (let at = 0; at < Frame.MXCSR - Frame.TEMP; at += 16) {
    a.op(0x0f10, 0, from(at));
    a.op(0x0f11, 0, to(at));
  }
}
const inScratch = (at: number): RegisterOrMemory => inFrame(Frame.TEMP + at);
/** @returns offset of the way in */
function writeEnter(a: Assembler, { stateAddress }: HostAddresses, x87Load: number): number {
  const enter = a.at;
  for (const r of SAVED) {
    if (r >= 8) a.byte(0x41);
    a.byte(0x50 | (r & 7));
  }
  a.arithmetic(5, register(RSP), Frame.BYTES);
  a.op(0x0fae, 3, inFrame(Frame.MXCSR)); // stmxcsr
  a.load32(RCX, field(Engine.FUEL));
  a.store32(FUEL, RCX);
  a.load32(RCX, field(Native.FLAGS));
  a.op(0x89, RCX, FLAGS, W16);
  a.load64(RCX, field(Reg.PAGE_VA));
  a.store64(PAGE_VA, RCX);
  for (const [n] of FRAME_GPRS) {
    a.load64(RCX, field(Reg.GPR + 8 * n));
    a.store64(gprWord(n), RCX);
  }
  a.moveAddress(RAX, stateAddress);
  a.load32(BANK, field(Engine.TLB));
  a.op(0x03, BANK, register(RAX), W);
  a.op(0x0fae, 2, field(Reg.MXCSR)); // ldmxcsr
  copyScratch(a, (at) => field(Native.FRAME + at), inScratch);
  for (let n = 0; n < XMMS; n++) a.op(0x0f10, n, field(Reg.XMM + 16 * n));
  a.load64(RCX, memory(RDI, Context.CODE));
  a.store64(field(Native.CODE), RCX);
  a.arithmetic(7, field(Native.X87), 2, false);
  const none = a.branchAhead(Cc.NZ);
  a.call(x87Load);
  a.bind(none);
  for (const [host, n] of GUESTS) a.load64(host, field(Reg.GPR + 8 * n));
  goToTarget(a);
  return enter;
}

/** The way out, where EAX says why. @returns its offset */
function writeOut(a: Assembler): number {
  const out = a.at;
  for (const [host, n] of GUESTS) a.store64(field(Reg.GPR + 8 * n), host);
  for (const [n] of FRAME_GPRS) {
    a.load64(RCX, gprWord(n));
    a.store64(field(Reg.GPR + 8 * n), RCX);
  }
  a.load64(RCX, PAGE_VA);
  a.store64(field(Reg.PAGE_VA), RCX);
  a.load32(RCX, FUEL);
  a.store32(field(Engine.FUEL), RCX);
  a.op(0x0fb7, RCX, FLAGS);
  a.op(0x89, RCX, field(Native.FLAGS), W16);
  writeX87Save(a);
  for (let n = 0; n < XMMS; n++) a.op(0x0f11, n, field(Reg.XMM + 16 * n));
  copyScratch(a, inScratch, (at) => field(Native.FRAME + at));
  a.op(0x0fae, 3, field(Reg.MXCSR));
  a.op(0x0fae, 2, inFrame(Frame.MXCSR));
  a.arithmetic(0, register(RSP), Frame.BYTES);
  for (const r of SAVED.toReversed()) {
    if (r >= 8) a.byte(0x41);
    a.byte(0x58 | (r & 7));
  }
  a.byte(0xc3);
  return out;
}
/** The ways out; at `out` EAX says why, at `lookUp` RIP is in ADDRESS. */
function writeExits(
  a: Assembler,
  host: WalkAddresses,
): Pick<Routines, "interpret" | "missed" | "fuelOut"> & {
  readonly out: number;
  readonly miss: number;
  readonly lookUp: number;
  interpretAt(this: void): void;
} {
  const out = writeOut(a);
  // what stands behind the call goes to INFO
  const takeInfo = (): void => {
    a.byte(0x58); // pop rax
    a.load32(ADDRESS, memory(SCRATCH, 0));
    a.store32(field(Native.INFO), ADDRESS);
  };
  const interpret = a.at;
  takeInfo();
  leave(a, Left.INTERPRET, out);
  // Info is where RAX points to
  const interpretAt = (): void => {
    a.byte(0x50); // push rax
    a.jump(interpret);
  };

  const { missed, miss } = writeMissed(a, host, out, takeInfo);
  const fuelOut = a.at;
  a.byte(0x58);
  a.op(0x0fb7, ADDRESS, memory(SCRATCH, 2));
  a.op(0x01, ADDRESS, FUEL);
  const none = a.branchAhead(Cc.S);
  a.op(0x29, ADDRESS, FUEL);
  a.arithmetic(0, register(SCRATCH), 4);
  a.raw(0xff, 0xe0); // jmp rax
  a.bind(none);
  a.op(0x0fb7, ADDRESS, memory(SCRATCH, 0));
  a.op(0x03, ADDRESS, PAGE_VA, W);
  const lookUp = a.at;
  a.store64(field(Reg.RIP), ADDRESS);
  leave(a, Left.LOOK_UP, out);
  return { out, miss, interpret, interpretAt, missed, fuelOut, lookUp };
}

function writeClock(a: Assembler, clockAddress: bigint): number {
  const clock = a.at;
  for (const [host, n] of VOLATILE) a.store64(field(Reg.GPR + 8 * n), host);
  for (let n = 0; n < XMMS; n++) a.op(0x0f11, n, field(Reg.XMM + 16 * n));
  a.moveRegister(ADDRESS, RSP);
  a.arithmetic(4, register(RSP), -16);
  a.arithmetic(5, register(RSP), 16);
  a.op(0xc7, 0, register(RDI), W);
  a.word(CLOCK_MONOTONIC);
  a.moveRegister(RSI, RSP);
  a.moveAddress(RAX, clockAddress);
  a.raw(0xff, 0xd0); // call rax
  a.op(0x69, RAX, memory(RSP, SECONDS), W);
  a.word(1_000_000_000);
  a.op(0x03, RAX, memory(RSP, NANOSECONDS), W);
  a.moveRegister(RSP, ADDRESS);
  for (let n = 0; n < XMMS; n++) a.op(0x0f10, n, field(Reg.XMM + 16 * n));
  for (const [host, n] of VOLATILE) a.load64(host, field(Reg.GPR + 8 * n));
  a.byte(0xc3);
  return clock;
}

/** Writes them. */
export function writeRoutines(a: Assembler, host: HostAddresses & WalkAddresses): Routines {
  const { stateAddress, clockAddress } = host;
  const x87Load = writeX87Load(a);
  const enter = writeEnter(a, host, x87Load);
  const exits = writeExits(a, host);
  const { interpret, missed, fuelOut } = exits;
  const clock = writeClock(a, clockAddress);
  return {
    enter,
    x87Load,
    interpret,
    missed,
    fuelOut,
    clock,
    ...writeSplits(a, exits.miss),
    ...writeLookup(a, stateAddress, exits),
  };
}
