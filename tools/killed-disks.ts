/* Kills Mere with SIGKILL while its guest writes, again and again, and looks whether its disks hold everything that was synced:
 *
 *   node tools/killed-disks.ts [--rounds N] [--directory DIR]
 *
 * Exit status 1 if anything was wrong in any round; what it was, and a copy of the disk, stay. Needs e2fsprogs. */
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { KilledDisks } from "../tests/support/killed-disks.ts";

const MOST_TELLS = 25;
const MOST_DELAY_MS = 250;
const { values } = parseArgs({ options: { rounds: { type: "string" }, directory: { type: "string" } } });
const rounds = Number(values.rounds ?? 100);
const disks = await KilledDisks.create(values.directory ?? tmpdir());
let told = 0;
let failed = 0;
try {
  for (let n = 1; n <= rounds; n++) {
    const [tells, delayMs] = [Math.floor(Math.random() * MOST_TELLS), Math.floor(Math.random() * MOST_DELAY_MS)];
    const round = await disks.round(tells, delayMs);
    told += round.told;
    if (round.wrong.length > 0) failed++;
    console.log(
      `round ${n}: killed ${delayMs} ms after ${tells} files; ${round.told} told; ${round.wrong.join("; ") || "all there"}`,
    );
  }
} finally {
  await disks.close();
}
console.log(`${rounds} rounds, ${told} files told, ${failed} rounds with something wrong`);
process.exitCode = failed > 0 ? 1 : 0;
