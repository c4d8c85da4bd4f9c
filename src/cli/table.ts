/* Tables on standard output, and the same as JSON. */

/** Rows as columns that are as wide as they need to be, two spaces apart. The last column is not padded. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]))).join("  "),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** Prints a table, or with --json a list of objects. */
export function printTable(
  json: boolean | undefined,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  objects: unknown,
): void {
  process.stdout.write(json === true ? `${JSON.stringify(objects, undefined, 2)}\n` : renderTable(head, rows));
}

const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [Infinity, "day"],
] as const;

/** "5 minutes", "1 day". @param ms from then to now */
export function formatAge(ms: number): string {
  let value = Math.max(0, Math.floor(ms / 1000));
  for (const [most, unit] of STEPS) {
    if (value < most) return `${value} ${unit}${value === 1 ? "" : "s"}`;
    value = Math.floor(value / most);
  }
  return "";
}
