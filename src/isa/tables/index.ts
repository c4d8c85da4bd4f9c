/* All instruction rows in one list. A row's id is its place here: engines index their handler tables by it. */
import type { Row } from "../row.ts";
import { CRYPTO_ROWS } from "./crypto.ts";
import { MAP0_ROWS } from "./map0.ts";
import { MAP1_ROWS } from "./map1.ts";
import { MAP2_ROWS } from "./map2.ts";
import { MAP3_ROWS } from "./map3.ts";
import { MMX_ROWS } from "./mmx.ts";
import { SSE_ROWS } from "./sse.ts";
import { X87_ROWS, XSAVE_ROWS } from "./x87.ts";

export const ALL_ROWS: readonly Row[] = [
  ...MAP0_ROWS, ...MAP1_ROWS, ...MAP2_ROWS, ...MAP3_ROWS, ...SSE_ROWS, ...X87_ROWS, ...XSAVE_ROWS, ...MMX_ROWS, ...CRYPTO_ROWS,
];
ALL_ROWS.forEach((row, id) => {
  row.id = id;
});
