/* Sizes as people write them, for the SDK's options and the command line's. */

/** Bytes of the units, in lower case: powers of 1024. */
const UNITS: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** "1048576", "512M", "512MB", "1.5GiB" in bytes; case does not matter, and MB are MiB, as docker has it. undefined if it is no size, or no whole number of bytes. */
export function sizeInBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?$/i.exec(text.trim());
  const bytes = match === null ? Number.NaN : Number(match[1]) * (UNITS[match[2]?.toLowerCase() ?? ""] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
