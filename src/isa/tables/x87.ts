import type { Row } from "../row.ts";

export const X87_ROWS: readonly Row[] = [];
export const XSAVE_ROWS: readonly Row[] = [];
