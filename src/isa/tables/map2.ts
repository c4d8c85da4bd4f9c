/* Three-byte opcodes 0F 38 xx: general-register instructions. @source SDM vol. 2D Table A-4 */
import { rowsOf, type Row } from "../row.ts";
import { ADCX, ADOX } from "../sem/addsub.ts";
import { CRC32 } from "../sem/bits.ts";
import { ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, MULX, PDEP, PEXT, SARX, SHLX, SHRX } from "../sem/bmi.ts";
import { MOVBE } from "../sem/moves.ts";
import { INVPCID } from "../sem/system.ts";

const row = rowsOf(2);
const vex = { l: 0 } as const;

export const MAP2_ROWS: readonly Row[] = [
  row(0x82, "invpcid", INVPCID, ["Gq", "Mdq"], { prefix: "66", size: "64", feature: "invpcid", privileged: true, ends: true }),
  row(0xf0, "movbe", MOVBE, ["Gv", "Mv"], { feature: "movbe" }),
  row(0xf1, "movbe", MOVBE, ["Mv", "Gv"], { feature: "movbe" }),
  row(0xf0, "crc32", CRC32, ["Gy", "Eb"], { prefix: "F2", feature: "sse4.2" }),
  row(0xf1, "crc32", CRC32, ["Gy", "Ev"], { prefix: "F2", feature: "sse4.2" }),
  row(0xf6, "adcx", ADCX, ["Gy", "Ey"], { prefix: "66", feature: "adx" }),
  row(0xf6, "adox", ADOX, ["Gy", "Ey"], { prefix: "F3", feature: "adx" }),

  row(0xf2, "andn", ANDN, ["Gy", "By", "Ey"], { vex, prefix: "none", feature: "bmi1", undefined: "AF PF" }),
  row(0xf3, "blsr", BLSR, ["By", "Ey"], { vex, ext: 1, prefix: "none", feature: "bmi1", undefined: "AF PF" }),
  row(0xf3, "blsmsk", BLSMSK, ["By", "Ey"], { vex, ext: 2, prefix: "none", feature: "bmi1", undefined: "AF PF" }),
  row(0xf3, "blsi", BLSI, ["By", "Ey"], { vex, ext: 3, prefix: "none", feature: "bmi1", undefined: "AF PF" }),
  row(0xf5, "bzhi", BZHI, ["Gy", "Ey", "By"], { vex, prefix: "none", feature: "bmi2", undefined: "AF PF" }),
  row(0xf5, "pext", PEXT, ["Gy", "By", "Ey"], { vex, prefix: "F3", feature: "bmi2" }),
  row(0xf5, "pdep", PDEP, ["Gy", "By", "Ey"], { vex, prefix: "F2", feature: "bmi2" }),
  row(0xf6, "mulx", MULX, ["Gy", "By", "Ey"], { vex, prefix: "F2", feature: "bmi2" }),
  row(0xf7, "bextr", BEXTR, ["Gy", "Ey", "By"], { vex, prefix: "none", feature: "bmi1", undefined: "AF SF PF" }),
  row(0xf7, "shlx", SHLX, ["Gy", "Ey", "By"], { vex, prefix: "66", feature: "bmi2" }),
  row(0xf7, "sarx", SARX, ["Gy", "Ey", "By"], { vex, prefix: "F3", feature: "bmi2" }),
  row(0xf7, "shrx", SHRX, ["Gy", "Ey", "By"], { vex, prefix: "F2", feature: "bmi2" }),
];
