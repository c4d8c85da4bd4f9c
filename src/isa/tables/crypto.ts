/* AES-NI, SHA and PCLMULQDQ, maps 0F38 and 0F3A. Conventions: sse.ts. @source SDM vol. 2D Tables */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import { AESIMC, AESKEYGENASSIST, cryptoBinary, PCLMULQDQ, SHA1RNDS4, SHA256RNDS2 } from "../sem/crypto.ts";

const map2 = rowsOf(2);
const map3 = rowsOf(3);

const AES: RowOptions = { unit: "sse", prefix: "66", feature: "aes", aligned: true };
const SHA: RowOptions = { unit: "sse", prefix: "none", feature: "sha", aligned: true };
const WHOLE = ["Vdq", "Wdq"] as const;
const WHOLE_IMM = ["Vdq", "Wdq", "Ib"] as const;

export const CRYPTO_ROWS: Row[] = [
  map2(0xc8, "sha1nexte", cryptoBinary("sha1nexte"), WHOLE, SHA),
  map2(0xc9, "sha1msg1", cryptoBinary("sha1msg1"), WHOLE, SHA),
  map2(0xca, "sha1msg2", cryptoBinary("sha1msg2"), WHOLE, SHA),
  map2(0xcb, "sha256rnds2", SHA256RNDS2, ["Vdq", "Wdq", "XMM0"], SHA),
  map2(0xcc, "sha256msg1", cryptoBinary("sha256msg1"), WHOLE, SHA),
  map2(0xcd, "sha256msg2", cryptoBinary("sha256msg2"), WHOLE, SHA),
  map2(0xdb, "aesimc", AESIMC, WHOLE, AES),
  map2(0xdc, "aesenc", cryptoBinary("aesenc"), WHOLE, AES),
  map2(0xdd, "aesenclast", cryptoBinary("aesenclast"), WHOLE, AES),
  map2(0xde, "aesdec", cryptoBinary("aesdec"), WHOLE, AES),
  map2(0xdf, "aesdeclast", cryptoBinary("aesdeclast"), WHOLE, AES),
  map3(0x44, "pclmulqdq", PCLMULQDQ, WHOLE_IMM, { ...AES, feature: "pclmulqdq" }),
  map3(0xcc, "sha1rnds4", SHA1RNDS4, WHOLE_IMM, SHA),
  map3(0xdf, "aeskeygenassist", AESKEYGENASSIST, WHOLE_IMM, AES),
];
