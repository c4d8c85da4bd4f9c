/* How a decoded block ends, for whoever follows the code from block to block (translator/regions.ts). */
import type { Decoded } from "../../isa/decoded.ts";

/** It goes on, jumps (JUMP: always, BRANCH: perhaps, INDIRECT_JUMP: who knows where), calls, or leaves in another way. */
export const BlockEnd = {
  GOES_ON: 0,
  JUMP: 1,
  BRANCH: 2,
  CALL: 3,
  INDIRECT_CALL: 4,
  INDIRECT_JUMP: 5,
  OTHER: 6,
} as const;

/** @param d the last instruction of a block that ends in one that is no failure  @param ended false: the block just goes on
 *  @param to offset behind it in its page  @returns BlockEnd, and where a relative jump or call goes, from the start of the page */
export function endingOf(d: Decoded | undefined, ended: boolean, to: number): { end: number; target: number } {
  if (!ended) return { end: BlockEnd.GOES_ON, target: to };
  if (d === undefined || d.row.size !== "64") return { end: BlockEnd.OTHER, target: 0 };
  const { row, operandCount, operands, imm32 } = d;
  if (operandCount > 0 && operands[0].kind === "rel") {
    const end = row.mnemonic === "call" ? BlockEnd.CALL : row.mnemonic === "jmp" ? BlockEnd.JUMP : BlockEnd.BRANCH;
    return { end, target: to + imm32 };
  }
  const end = { call: BlockEnd.INDIRECT_CALL, jmp: BlockEnd.INDIRECT_JUMP }[row.mnemonic] ?? BlockEnd.OTHER;
  return { end, target: 0 };
}
