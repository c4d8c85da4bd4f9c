/* Addition and subtraction: ADD ADC SUB SBB CMP INC DEC NEG, ADCX ADOX.
 * @source SDM vol. 2A "ADC", "ADD", "ADCX", "ADOX", "CMP", "DEC", "INC"; vol. 2B "NEG", "SBB", "SUB" */
import { semantics } from "../sem.ts";

export const ADD = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const r = s.add(a, b);
  s.put(0, r);
  s.flags("add", a, b, r);
});

export const ADC = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const r = s.add(s.add(a, b), s.flag("CF"));
  s.put(0, r);
  s.flags("add", a, b, r);
});

export const SUB = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const r = s.sub(a, b);
  s.put(0, r);
  s.flags("sub", a, b, r);
});

export const SBB = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const r = s.sub(s.sub(a, b), s.flag("CF"));
  s.put(0, r);
  s.flags("sub", a, b, r);
});

export const CMP = semantics("rr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  s.flags("sub", a, b, s.sub(a, b));
});

export const INC = semantics("x", (s) => {
  const a = s.get(0);
  const one = s.const(1);
  const r = s.add(a, one);
  s.put(0, r);
  s.flags("inc", a, one, r);
});

export const DEC = semantics("x", (s) => {
  const a = s.get(0);
  const one = s.const(1);
  const r = s.sub(a, one);
  s.put(0, r);
  s.flags("dec", a, one, r);
});

export const NEG = semantics("x", (s) => {
  const a = s.get(0);
  const zero = s.const(0);
  const r = s.sub(zero, a);
  s.put(0, r);
  s.flags("sub", zero, a, r);
});

/** Adds with carry through one flag and leaves the others alone. */
const addThrough = (flag: "CF" | "OF") =>
  semantics("xr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    const r = s.add(s.add(a, b), s.flag(flag));
    // carry out of the top bit, as in flags.ts
    const carries = s.or(s.and(a, b), s.and(s.or(a, b), s.not(r)));
    const carry = s.and(s.shrU(carries, s.const(s.size * 8 - 1)), s.const(1));
    s.put(0, r);
    s.setFlags(flag === "CF" ? { CF: carry } : { OF: carry });
  });
export const ADCX = addThrough("CF");
export const ADOX = addThrough("OF");
