/* The parts of an instruction's encoding that are carried over to the host: the decoder tells what it means, this what it looks like.
 * @source SDM vol. 2A ch. 2 */

export interface Raw {
  /** Mandatory and operand-size prefixes, as they are to stand before REX, the first one higher; LOCK is not among them. */
  prefixes: number;
  w: boolean;
  /** Opcode with its escapes, the first byte highest. */
  opcode: number;
  /** VEX map, 0: legacy encoding. */
  vex: number;
  /** VEX.pp. */
  pp: number;
  vvvv: number;
  /** ModRM.reg without extension, −1 if there is no ModRM. */
  reg: number;
  /** Offset of what follows ModRM, SIB and displacement. */
  immediate: number;
}

const isPrefix = (byte: number): boolean =>
  byte === 0x66 ||
  byte === 0x67 ||
  (byte >= 0xf0 && byte <= 0xf3 && byte !== 0xf1) ||
  (byte & 0xe7) === 0x26 ||
  byte === 0x64 ||
  byte === 0x65;

/** @param at offset of a valid instruction's first byte  @param hasModrm of a legacy-encoded one; those with VEX all have it */
export function readRaw(bytes: Uint8Array, at: number, hasModrm: boolean, out: Raw): void {
  let rex = 0;
  let [operandSize, repeat] = [false, 0];
  out.vex = 0;
  for (; isPrefix(bytes[at]) || (bytes[at] & 0xf0) === 0x40; at++) {
    const byte = bytes[at];
    if ((byte & 0xf0) === 0x40) {
      rex = byte;
      continue;
    }
    rex = 0;
    if (byte === 0x66) operandSize = true;
    else if (byte === 0xf2 || byte === 0xf3) repeat = byte;
  }
  out.w = (rex & 8) !== 0;
  let map = 0;
  if (bytes[at] === 0xc4) {
    out.vex = bytes[at + 1] & 0x1f;
    out.pp = bytes[at + 2] & 3;
    out.vvvv = (~bytes[at + 2] >> 3) & 15;
    out.w = (bytes[at + 2] & 0x80) !== 0;
    out.opcode = bytes[at + 3];
    at += 4;
  } else if (bytes[at] === 0xc5) {
    out.vex = 1;
    out.pp = bytes[at + 1] & 3;
    out.vvvv = (~bytes[at + 1] >> 3) & 15;
    out.opcode = bytes[at + 2];
    at += 3;
  } else {
    out.opcode = bytes[at++];
    if (out.opcode === 0x0f) {
      map = 1;
      out.opcode = 0x0f00 | bytes[at++];
      if (out.opcode === 0x0f38 || out.opcode === 0x0f3a) out.opcode = (out.opcode << 8) | bytes[at++];
    }
  }
  out.prefixes = operandSize ? 0x66 : 0;
  // before one-byte opcodes they are hints here
  if (repeat !== 0 && map !== 0) out.prefixes = (out.prefixes << 8) | repeat;
  out.reg = -1;
  if (hasModrm || out.vex !== 0) {
    const modrm = bytes[at++];
    out.reg = (modrm >> 3) & 7;
    const mod = modrm >> 6;
    const rm = modrm & 7;
    if (mod !== 3) {
      const sib = rm === 4 ? bytes[at++] : -1;
      const noBase = mod === 0 && (sib < 0 ? rm === 5 : (sib & 7) === 5);
      if (mod === 1) at += 1;
      else if (mod === 2 || noBase) at += 4;
    }
  }
  out.immediate = at;
}
