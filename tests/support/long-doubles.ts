/* Compares text with 80-bit numbers as printf %La writes them. */

/** Libm makes its results of several such instructions. */
const MOST_STEPS = 4n;
const HEX_FLOAT = /^(-?)0x([0-9a-f])(?:\.([0-9a-f]+))?p([+-]\d+)$/;

/** The number in units of its last place, and its exponent. %La puts the significand's upper four bits before the point. */
function parse(word: string): { significand: bigint; exponent: number } | undefined {
  const match = HEX_FLOAT.exec(word);
  if (match === null) return undefined;
  const significand = BigInt(`0x${match[2]}${(match[3] ?? "").padEnd(15, "0")}`);
  return { significand: match[1] === "-" ? -significand : significand, exponent: Number(match[4]) };
}

function near(expected: string, actual: string): boolean {
  const [e, a] = [parse(expected), parse(actual)];
  if (e === undefined || a === undefined || Math.abs(e.exponent - a.exponent) > 1) return false;
  // Over a power of two, the larger number's places count.
  const least = Math.min(e.exponent, a.exponent);
  const distance = (e.significand << BigInt(e.exponent - least)) - (a.significand << BigInt(a.exponent - least));
  return (distance < 0n ? -distance : distance) <= MOST_STEPS << BigInt(Math.max(e.exponent, a.exponent) - least);
}

/** Words that differ by more than some units in the last place. Anything that is not a number must be the same. */
export function differingLongDoubles(expected: string, actual: string): string[] {
  const [lines, others] = [expected.split("\n"), actual.split("\n")];
  if (lines.length !== others.length) return [`${lines.length} lines, not ${others.length}`];
  return lines.flatMap((line, number) => {
    const [words, found] = [line.split(" "), others[number]!.split(" ")];
    if (words.length !== found.length) return [`line ${number}: ${line} / ${others[number]}`];
    return words.flatMap((word, at) =>
      word === found[at] || near(word, found[at]!) ? [] : [`line ${number}, word ${at}: ${word} / ${found[at]}`],
    );
  });
}
