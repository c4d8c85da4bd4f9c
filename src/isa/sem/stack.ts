/* The stack: PUSH POP PUSHF POPF ENTER LEAVE. The stack pointer is always 64 bits.
 * @source SDM vol. 2A "ENTER"; vol. 2B "LEAVE", "POP", "POPF", "PUSH", "PUSHF" */
import type { CallSpec } from "../calls.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { semantics, type Sem, type Semantics, type Size } from "../sem.ts";

const RSP = 4;
const RBP = 5;

export function push<V>(s: Sem<V>, value: V, size: Size): void {
  const top = s.sub(s.reg(RSP, 8), s.const(size));
  s.store(top, size, value);
  s.setReg(RSP, 8, top);
}

/** Faults before RSP moves. jump() checks as well, but too late for that. */
export function requireCanonical<V>(s: Sem<V>, address: V, exception: "#GP" | "#SS" = "#GP"): void {
  const upper = s.add(s.shrS(address, s.const(47)), s.const(1)); // 0 or 1
  s.when(s.ltU(s.const(1), upper), () => s.raise(exception));
}

export const PUSH = semantics("r", (s) => push(s, s.get(0), s.size));

/** The decoder has added the size to the displacement of [RSP…]: the address is meant after RSP has grown. */
export const POP = semantics("w", (s) => {
  const top = s.reg(RSP, 8);
  const value = s.load(top, s.size);
  const grown = s.add(top, s.const(s.size));
  if (s.isMemory(0)) {
    s.put(0, value);
    s.setReg(RSP, 8, grown);
  } else {
    s.setReg(RSP, 8, grown); // before the put: POP RSP keeps the value
    s.put(0, value);
  }
});

/** @param index SegmentIndex; operand 0 is only its name */
export const pushSegment = (index: number): Semantics =>
  semantics("-", (s) => push(s, s.and(s.field(Reg.SEG + 16 * index, 4), s.const(0xffff)), s.size));
export const popSegment = (index: number): Semantics =>
  semantics("-", (s) => {
    const top = s.reg(RSP, 8);
    s.call("loadSegment", s.const(index), s.zext(s.load(top, s.size), 2));
    s.setReg(RSP, 8, s.add(top, s.const(s.size)));
  });

export const LEAVE = semantics("", (s) => {
  const frame = s.reg(RBP, 8);
  requireCanonical(s, frame, "#SS");
  const value = s.load(frame, s.size);
  s.setReg(RSP, 8, s.add(frame, s.const(s.size)));
  s.setReg(RBP, s.size, value);
});

/** Operand 0 is both immediates: bytes of locals, and the nesting level in bits 16–23. Levels above 0 are rare and done by a call. */
export const ENTER = semantics("r", (s) => {
  const immediates = s.get(0);
  const level = s.and(s.shrU(immediates, s.const(16)), s.const(31));
  const top = s.reg(RSP, 8);
  const frame = s.sub(top, s.const(s.size));
  const locals = s.zext(immediates, 2);
  s.when(
    s.isZero(level),
    () => {
      const end = s.sub(frame, locals);
      s.store(frame, s.size, s.reg(RBP, s.size));
      s.probeWrite(end, s.size); // the new top must be writable; processors look after the push
      s.setReg(RSP, 8, end);
      s.setReg(RBP, s.size, frame);
    },
    () => {
      s.call("enter", locals, level, s.const(s.size));
    },
  );
});

/** An address in the stack segment: not canonical is #SS, not #GP. */
function inStack(address: bigint): bigint {
  const at = BigInt.asUintN(64, address);
  if (BigInt.asUintN(64, BigInt.asIntN(48, at)) !== at) throw new GuestFault(Vector.SS, 0);
  return at;
}

export const STACK_CALLS: Record<string, CallSpec> = {
  /** (bytes of locals, nesting level 1–31, operand size) */
  enter: {
    args: 3,
    result: false,
    run: (cpu, locals, level, sizeArgument) => {
      const size = Number(sizeArgument!);
      const step = BigInt(size);
      const bp = cpu.regs.gpr(RBP);
      const frame = BigInt.asUintN(64, cpu.regs.gpr(RSP) - step);
      const pushAt = (i: bigint, value: bigint): void =>
        cpu.write(inStack(frame - i * step), size, BigInt.asUintN(8 * size, value));
      // Pushes before a fault stay written, as on processors; only the registers wait for the end.
      pushAt(0n, bp);
      for (let i = 1n; i < level!; i++) pushAt(i, cpu.read(inStack(bp - i * step), size));
      pushAt(level!, frame);
      const end = BigInt.asUintN(64, frame - level! * step - locals!);
      cpu.probeWrite(inStack(end), size);
      cpu.regs.setGpr(RSP, end);
      cpu.regs.setGpr(RBP, size === 8 ? frame : (bp & ~0xffffn) | (frame & 0xffffn));
    },
  },
};
