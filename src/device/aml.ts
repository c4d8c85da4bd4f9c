/* A writer of ACPI Machine Language: the few objects that a DSDT of fixed devices needs. @source ACPI 6.5 §20.2 (AML), §6.4 (resources) */

/** Encoded AML. */
export type Aml = readonly number[];

/** ASCII bytes, padded with `pad` to `length`. */
export function ascii(text: string, length = text.length, pad = " "): number[] {
  return [...text.padEnd(length, pad)].map((c) => c.charCodeAt(0));
}
/** Little-endian bytes of a number below 2^53. */
export function little(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
}

/** @param path segments of up to four characters, `\` for the root: "\\_S5", "_SB" */
function nameString(path: string): number[] {
  const root = path.startsWith("\\");
  return [...(root ? [0x5c] : []), ...ascii(path.slice(root ? 1 : 0), 4, "_")];
}
/** PkgLength, which counts itself. @source §20.2.4 */
function packaged(body: Aml): number[] {
  if (body.length + 1 < 0x40) return [body.length + 1, ...body];
  const following = body.length + 2 < 0x1000 ? 1 : body.length + 3 < 0x100000 ? 2 : 3;
  const total = body.length + 1 + following;
  return [(following << 6) | (total & 0xf), ...little(Math.floor(total / 16), following), ...body];
}

export function integer(value: number): Aml {
  if (value === 0 || value === 1) return [value];
  if (value < 0x100) return [0x0a, value];
  if (value < 0x10000) return [0x0b, ...little(value, 2)];
  return [0x0c, ...little(value, 4)];
}
export function string(text: string): Aml {
  return [0x0d, ...ascii(text), 0];
}
export function packageOf(elements: readonly Aml[]): Aml {
  return [0x12, ...packaged([elements.length, ...elements.flat()])];
}
export function buffer(bytes: Aml): Aml {
  return [0x11, ...packaged([...integer(bytes.length), ...bytes])];
}
export function name(path: string, value: Aml): Aml {
  return [0x08, ...nameString(path), ...value];
}
export function scope(path: string, body: readonly Aml[]): Aml {
  return [0x10, ...packaged([...nameString(path), ...body.flat()])];
}
export function device(segment: string, body: readonly Aml[]): Aml {
  return [0x5b, 0x82, ...packaged([...nameString(segment), ...body.flat()])];
}

/** A _CRS buffer: descriptors and the end tag. */
export function resources(descriptors: readonly Aml[]): Aml {
  return buffer([...descriptors.flat(), 0x79, 0]);
}
/** Memory32Fixed, read-write. */
export function memory32(base: number, length: number): Aml {
  return [0x86, 9, 0, 1, ...little(base, 4), ...little(length, 4)];
}
/** Extended Interrupt: consumer, level, active high, exclusive. */
export function levelInterrupt(gsi: number): Aml {
  return [0x89, 6, 0, 1, 1, ...little(gsi, 4)];
}
/** IO, 16-bit decode, fixed. */
export function ioPorts(first: number, length: number): Aml {
  return [0x47, 1, ...little(first, 2), ...little(first, 2), 1, length];
}
