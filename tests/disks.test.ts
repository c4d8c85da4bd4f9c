/* A guest's view of its disks: queues, discards that give space back, zeroes, flushes, growth; and the sentence for a second VM on the same disk. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createDisk, growDisk } from "../src/disk/store.ts";
import { openDisk } from "../src/disk/open.ts";
import { runMere, summary } from "./support/mere.ts";

const MIB = 1 << 20;
const directory = mkdtempSync(join(tmpdir(), "mere-disks-"));
after(() => rmSync(directory, { recursive: true }));

const SCRIPT = `set -e
for d in vda vdb; do echo $d queues $(ls /sys/block/$d/mq | wc -l) size $(cat /sys/block/$d/size); done
for d in vda vdb; do
  yes $d | head -c 8388608 | dd of=/dev/$d bs=64k iflag=fullblock oflag=direct 2>/dev/null
  blkdiscard -o 1048576 -l 2097152 /dev/$d
  echo $d discarded $(dd if=/dev/$d bs=1M skip=1 count=2 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c)
  printf end | dd of=/dev/$d bs=512 seek=40959 conv=sync oflag=direct 2>/dev/null
  dd if=/dev/$d bs=512 skip=9 count=3 iflag=direct 2>/dev/null | head -c 4
done
sync; echo done`;

test(
  "disks in a guest: a queue for each CPU, discards give space back, every byte where it belongs",
  { timeout: 300_000 },
  async () => {
    const under = await createDisk(directory, { name: "under", format: "raw", sizeBytes: 16 * MIB });
    const over = await createDisk(directory, { name: "over", format: "overlay", from: under });
    const raw = await createDisk(directory, { name: "plain", format: "raw", sizeBytes: 16 * MIB });
    await growDisk(over, 20 * MIB);
    await growDisk(raw, 20 * MIB);
    const words = ["run", "--kernel", "debian", "--cpus", "2", "--disk", over, "--disk", raw, "--", "sh", "-c", SCRIPT];
    const ended = await runMere(words);
    assert.equal(ended.status, 0, summary(ended));
    assert.equal(
      ended.stdout.toString(),
      `vda queues 2 size 40960\nvdb queues 2 size 40960\nvda discarded 0\nvda\nvdb discarded 0\nvdb\ndone\n`,
    );
    for (const [path, letter] of [
      [over, "a"],
      [raw, "b"],
    ] as const) {
      assert.ok(
        statSync(path).blocks * 512 <= 6 * MIB + 128 * 1024,
        `${path} takes ${statSync(path).blocks * 512} bytes`,
      );
      const disk = await openDisk(path, { readOnly: true });
      const bytes = new Uint8Array(20 * MIB);
      await disk.read(0, [bytes]);
      await disk.close();
      const expected = Buffer.alloc(20 * MIB);
      expected.fill(`vd${letter}\n`, 0, 8 * MIB);
      expected.fill(0, MIB, 3 * MIB);
      expected.write("end", 40959 * 512);
      assert.ok(expected.equals(bytes), path);
    }
    assert.ok(
      readFileSync(under).every((byte) => byte === 0),
      "the base is as it was",
    );
  },
);

test("a second VM on a disk is refused with a sentence before it starts", async () => {
  const path = await createDisk(directory, { name: "taken", format: "raw", sizeBytes: MIB });
  const holder = await openDisk(path);
  const ended = await runMere(["run", "--kernel", "debian", "--disk", path, "--", "true"]);
  await holder.close();
  assert.equal(ended.status, 1, summary(ended));
  assert.match(ended.stderr, new RegExp(`taken.raw is in use by process ${process.pid}: stop the VM that uses it`));
  assert.ok(existsSync(path));
});
