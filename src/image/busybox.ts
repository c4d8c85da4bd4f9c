/* The applets of a busybox program, read from the program itself: so they are known without running it (it may be for another machine). */

/** "[" and "[[" are the first names of busybox's table, which is sorted, NUL-separated and ends in an empty name. */
const TABLE_START = Buffer.from("\0[\0[[\0", "latin1");
/** Far above any build's table (some 15 KiB): a program that is no busybox must not be searched to its end. */
const LONGEST_TABLE = 64 * 1024;

/** Names of the applets. @throws RangeError if the program has no table of them */
export function busyboxApplets(program: Uint8Array): string[] {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const start = bytes.indexOf(TABLE_START);
  const end = start < 0 ? -1 : bytes.indexOf("\0\0", start + 1, "latin1");
  if (end < 0 || end - start > LONGEST_TABLE)
    throw new RangeError("The program is no busybox with [ and [[ among its applets; give Debian's busybox-static.");
  return bytes.toString("latin1", start + 1, end).split("\0");
}
