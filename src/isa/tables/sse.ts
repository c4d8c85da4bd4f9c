/* Rows of SSE … SSE4.2, XMM forms only: those on MMX registers are in mmx.ts.
 * Convention: put of width 4 or 8 to an XMM operand writes only the low lane and keeps the rest; a row whose instruction
 * clears the rest has a 16-byte destination. A 4- or 8-byte XMM or memory operand reads as an integer bit pattern, a
 * 16-byte one as a v128. @source SDM vol. 2D Tables */
import type { Row } from "../row.ts";
import { SSE_FP_ROWS } from "./sse-fp.ts";
import { SSE_INTEGER_ROWS } from "./sse-integer.ts";
import { SSE_MOVE_ROWS } from "./sse-move.ts";
import { SSE4_ROWS } from "./sse4.ts";

export const SSE_ROWS: Row[] = [...SSE_MOVE_ROWS, ...SSE_FP_ROWS, ...SSE_INTEGER_ROWS, ...SSE4_ROWS];
