/* Three-byte opcodes 0F 3A xx: general-register instructions. @source SDM vol. 2D Table A-5 */
import { rowsOf, type Row } from "../row.ts";
import { RORX } from "../sem/bmi.ts";

const row = rowsOf(3);

export const MAP3_ROWS: readonly Row[] = [
  row(0xf0, "rorx", RORX, ["Gy", "Ey", "Ib"], { vex: { l: 0 }, prefix: "F2", feature: "bmi2" }),
];
