/* String instructions: MOVS CMPS STOS LODS SCAS INS OUTS, one element a run; REP through Sem.repeat.
 * Operand 0 is the source at rSI (MOVS, CMPS, LODS, OUTS) or the destination at rDI; a second one at rDI is found here (its
 * segment is ES, base 0). @source SDM vol. 2A–2C, the instructions' pages; vol. 2B "REP" */
import { Reg } from "../registers.ts";
import { semantics, type Sem, type Semantics } from "../sem.ts";

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
const DX = 2;
const DF_BIT = 10;

/** Moves index registers by one element, down if DF. */
function advance<V>(s: Sem<V>, ...registers: number[]): void {
  const down = s.and(s.shrU(s.field(Reg.RFLAGS, 8), s.const(DF_BIT)), s.const(1));
  const step = s.sub(s.const(s.width(0)), s.mul(down, s.const(2 * s.width(0))));
  for (const n of registers) s.setReg(n, s.addressSize, s.add(s.reg(n, s.addressSize), step));
}

/** What is zero-extended before the first element when the address size is 32, as processors do it: seen when a count is 0
 *  or the first element faults. */
const NARROWED = { counter: [RCX], all: [RCX, RSI, RDI], destination: [RCX, RDI] } as const;

/** @param compares SCAS and CMPS: ZF ends the repetition too
 *  @param first comes before all else, even if the count is 0 */
function stringSemantics(
  access: string,
  element: <V>(s: Sem<V>) => void,
  compares = false,
  narrowed: keyof typeof NARROWED = "counter",
  first?: <V>(s: Sem<V>) => void,
): Semantics {
  return semantics(access, (s) => {
    first?.(s);
    if (s.rep === 0) return element(s);
    if (s.addressSize === 4) for (const n of NARROWED[narrowed]) s.setReg(n, 4, s.reg(n, 4));
    s.when(s.ne(s.reg(RCX, s.addressSize), s.const(0)), () => {
      element(s);
      s.setReg(RCX, s.addressSize, s.sub(s.reg(RCX, s.addressSize), s.const(1)));
    });
    // outside `when`: an initial count of 0 ends here as a count that has come down to 0 does
    const more = s.ne(s.reg(RCX, s.addressSize), s.const(0));
    if (!compares) return s.repeat(more);
    const zf = s.flag("ZF");
    s.repeat(s.and(more, s.rep === 0xf3 ? zf : s.isZero(zf)));
  });
}

export const MOVS = stringSemantics(
  "r",
  (s) => {
    s.store(s.reg(RDI, s.addressSize), s.size, s.get(0));
    advance(s, RSI, RDI);
  },
  false,
  "all",
);
export const LODS = stringSemantics("r", (s) => {
  s.setReg(RAX, s.size, s.get(0));
  advance(s, RSI);
});
export const STOS = stringSemantics(
  "w",
  (s) => {
    s.put(0, s.reg(RAX, s.size));
    advance(s, RDI);
  },
  false,
  "destination",
);
export const SCAS = stringSemantics(
  "r",
  (s) => {
    const a = s.reg(RAX, s.size);
    const b = s.get(0);
    s.flags("sub", a, b, s.sub(a, b));
    advance(s, RDI);
  },
  true,
);
export const CMPS = stringSemantics(
  "r",
  (s) => {
    const b = s.load(s.reg(RDI, s.addressSize), s.size); // first: if both fault, processors tell of this one
    const a = s.get(0);
    s.flags("sub", a, b, s.sub(a, b));
    advance(s, RSI, RDI);
  },
  true,
);

/** Ports have at most 32 bits, whatever REX.W says. */
const portSize = <V>(s: Sem<V>): 1 | 2 | 4 => (s.size === 8 ? 4 : s.size);

/** Processors look at the permission before memory and count. */
const requirePort = <V>(s: Sem<V>): void => void s.call("requirePort", s.reg(DX, 2), s.const(portSize(s)));

/** The destination is probed first: reading a port cannot be undone. */
export const INS = stringSemantics(
  "-",
  (s) => {
    const to = s.linearAddress(0);
    const size = portSize(s);
    s.probeWrite(to, size);
    s.store(to, size, s.call("portIn", s.reg(DX, 2), s.const(size)));
    advance(s, RDI);
  },
  false,
  "counter",
  requirePort,
);
export const OUTS = stringSemantics(
  "r",
  (s) => {
    s.call("portOut", s.reg(DX, 2), s.const(portSize(s)), s.get(0));
    advance(s, RSI);
  },
  false,
  "counter",
  requirePort,
);
