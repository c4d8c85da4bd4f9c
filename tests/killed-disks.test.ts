import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { e2fsprogs } from "./support/guest-programs.ts";
import { KilledDisks } from "./support/killed-disks.ts";

const hasTools = (await e2fsprogs("debugfs", "-V")).status === 0;

test(
  "after kill -9 of Mere everything that a guest synced is on its disks, and their journals make the rest whole",
  { skip: hasTools ? false : "no e2fsprogs here", timeout: 10 * 60_000 },
  async () => {
    const disks = await KilledDisks.create(tmpdir());
    try {
      let told = 0;
      for (const [tells, delayMs] of [
        [5, 0],
        [12, 37],
        [1, 110],
      ] as const) {
        const round = await disks.round(tells, delayMs);
        assert.deepEqual(round.wrong, []);
        told += round.told;
      }
      assert.ok(told >= 18, `${told} files were told`);
    } finally {
      await disks.close();
    }
  },
);
