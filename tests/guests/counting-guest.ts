/* A guest whose handlers of VECTOR and 0x50 count interrupts. Tests only. */
import { code, type Listing } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

export const VECTOR = 0x40;
export const HANDLER = 0x2_0000;
/** Counts in R15, ends the interrupt, goes back. */
const COUNT = code(`
  49 ff c7                        inc r15
  4c 8b 34 24                     mov r14, [rsp]
  51                              push rcx
  50                              push rax
  52                              push rdx
  31 c0                           xor eax, eax
  31 d2                           xor edx, edx
  b9 0b 08 00 00                  mov ecx, 0x80b
  0f 30                           wrmsr
  5a                              pop rdx
  58                              pop rax
  59                              pop rcx
  48 cf                           iretq
`);
export function countingGuest(program: Listing, { counting = true } = {}): SmallGuest {
  const g = new SmallGuest();
  g.load(program);
  if (counting) {
    g.write(HANDLER, COUNT.bytes);
    g.gate(VECTOR, { offset: BigInt(HANDLER) });
    g.gate(0x50, { offset: BigInt(HANDLER) });
  }
  return g;
}
export const apic = (g: SmallGuest) => g.devices.localApics.apics[0]!;
export const count = (g: SmallGuest): number => Number(g.gpr(15));
/** Where the last counted interrupt came. */
export const cameAt = (g: SmallGuest): number => Number(g.gpr(14)) - At.CODE;
