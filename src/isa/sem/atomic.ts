/* XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B, MFENCE. LOCK is the implementation's work: put() of a LOCKed operand is a compare-and-swap.
 * @source SDM vol. 2A "CMPXCHG", "CMPXCHG8B/CMPXCHG16B"; vol. 2C "XADD" */
import { semantics } from "../sem.ts";

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;

export const XADD = semantics("xx", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const r = s.add(a, b);
  if (s.isMemory(0)) {
    s.put(0, r);
    s.put(1, a);
  } else {
    s.put(1, a); // XADD of a register with itself keeps the sum
    s.put(0, r);
  }
  s.flags("add", a, b, r);
});

/** Memory is written whatever the comparison says; a register that differs is not touched, not even zero-extended, and
 *  neither is rAX when they are equal. */
export const CMPXCHG = semantics("xr", (s) => {
  const accumulator = s.reg(RAX, s.size);
  const destination = s.get(0);
  const source = s.get(1);
  const equal = s.eq(accumulator, destination);
  if (s.isMemory(0)) {
    s.put(0, s.select(equal, source, destination));
    s.when(s.isZero(equal), () => s.setReg(RAX, s.size, destination));
  } else
    s.when(
      equal,
      () => s.put(0, source),
      () => s.setReg(RAX, s.size, destination),
    );
  s.flags("sub", accumulator, destination, s.sub(accumulator, destination));
});

export const CMPXCHG8B = semantics("x", (s) => {
  const destination = s.get(0);
  const high = s.const(32);
  const equal = s.eq(destination, s.or(s.shl(s.reg(RDX, 4), high), s.reg(RAX, 4)));
  s.put(0, s.select(equal, s.or(s.shl(s.reg(RCX, 4), high), s.reg(RBX, 4)), destination));
  s.when(s.isZero(equal), () => {
    s.setReg(RAX, 4, destination);
    s.setReg(RDX, 4, s.shrU(destination, high));
  });
  s.setFlags({ ZF: equal });
});

export const MFENCE = semantics("", (s) => s.fence());

/** The address must be aligned. */
export const CMPXCHG16B = semantics("-", (s) => {
  const address = s.linearAddress(0);
  s.when(s.ne(s.and(address, s.const(15)), s.const(0)), () => s.raise("#GP"));
  s.probeWrite(address, 16);
  const { equal, low, high } = s.exchangePair(
    address,
    { low: s.reg(RAX, 8), high: s.reg(RDX, 8) },
    { low: s.reg(RBX, 8), high: s.reg(RCX, 8) },
  );
  s.when(s.isZero(equal), () => {
    s.setReg(RAX, 8, low);
    s.setReg(RDX, 8, high);
  });
  s.setFlags({ ZF: equal });
});
