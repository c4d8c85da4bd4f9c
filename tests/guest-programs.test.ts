/* Real programs in a guest with a Debian root disk give what they give on the host's processor, byte for byte; the guest's kernel finds nothing wrong, and
 * its file systems are whole afterwards, also when the VM is stopped while it writes. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runCommand } from "../src/image/command.ts";
import { debianDisk } from "./support/debian-disk.ts";
import {
  copyFromDisk,
  e2fsprogs,
  makeInputs,
  makeProgramDisk,
  nativeRoot,
  type Outputs,
  readOutputs,
  runNatively,
} from "./support/guest-programs.ts";
import { type Ended, runMere, startMere, summary } from "./support/mere.ts";
import { differingLongDoubles } from "./support/long-doubles.ts";

const PROGRAMS = readdirSync(new URL("./support/guest-programs/", import.meta.url))
  .filter((file) => file.endsWith(".sh") && file !== "run.sh")
  .map((file) => basename(file, ".sh"));
const MINUTES = 60_000;
/** Enough for several blocks of each cipher and compressor; the suite's time is what it costs. */
const BINARY_BYTES = 300_001;
const DISK_MIB = 64;
const WITH_DISKS = "mkdir -p /mnt && mount -t ext4 /dev/vdb /mnt &&";
/** The C program dies of faults on purpose. */
const TROUBLE =
  /^(?!.*c-program\[).*(WARNING|BUG:|Oops|[Uu]nable to|Call Trace|traps:|segfault|general protection|I\/O error|EXT4-fs (error|warning)).*$/gm;
/** Its results come from the processor's transcendental instructions, which Mere rounds correctly and processors nearly so. */
const NEARLY = "c-long-doubles";

const hasTools = (await e2fsprogs("debugfs", "-V")).status === 0;

/** Journal replayed and orphans dropped as at a boot, then: is everything right? */
async function assertWhole(disk: string): Promise<void> {
  const replay = await e2fsprogs("e2fsck", "-p", disk);
  assert.ok(replay.status === 0 || replay.status === 1, replay.output); // 1: something was put right, such as an orphan
  const check = await e2fsprogs("e2fsck", "-f", "-n", disk);
  assert.equal(check.status, 0, check.output);
}

describe(
  "programs of Debian in a guest",
  { skip: hasTools ? false : "no e2fsprogs here", timeout: 18 * MINUTES },
  () => {
    let directory = "";
    let rootDisk = "";
    let programDisk = "";
    let native: Outputs;
    let guest: Outputs;
    let ended: Ended;
    let hasCompiler = false;

    before(
      async () => {
        directory = await mkdtemp(join(tmpdir(), "mere-programs-"));
        const debian = await debianDisk();
        const environment = await nativeRoot(debian, join(directory, "root"));
        hasCompiler = await makeInputs(join(directory, "inputs"), environment, BINARY_BYTES);
        rootDisk = join(directory, "root.ext4");
        await runCommand("cp", ["--sparse=always", debian, rootDisk]);
        programDisk = join(directory, "programs.ext4");
        await makeProgramDisk(programDisk, join(directory, "inputs"), DISK_MIB);
        native = await runNatively(environment, join(directory, "inputs"), join(directory, "native"));
        const script = `${WITH_DISKS} sh /mnt/programs/run.sh /mnt/inputs /mnt/outputs && dmesg >/mnt/outputs/dmesg && umount /mnt`;
        const disks = ["--disk", rootDisk, "--disk", programDisk, "--append", "root=/dev/vda"];
        ended = await runMere(["run", "--kernel", "debian", ...disks, "--", "sh", "-c", script]);
        await copyFromDisk(programDisk, "/outputs", directory);
        guest = await readOutputs(join(directory, "outputs")).catch(() => new Map());
      },
      { timeout: 15 * MINUTES },
    );
    after(() => rm(directory, { recursive: true, force: true }));

    test("all are run", () => {
      assert.equal(ended.status, 0, summary(ended));
      assert.deepEqual(ended.stdout.toString().trim().split("\n"), PROGRAMS);
      assert.deepEqual([...guest.keys()], PROGRAMS);
    });

    for (const name of PROGRAMS) {
      test(`${name} prints what it prints natively`, (t) => {
        if (name.startsWith("c-") && !hasCompiler) return t.skip("no gcc here");
        const [expected, actual] = [native.get(name)?.toString("latin1"), guest.get(name)?.toString("latin1")];
        assert.ok(
          expected !== undefined && expected.endsWith("exit status 0\n"),
          `native run: ${expected?.slice(-500) ?? "nothing"}`,
        );
        if (name === NEARLY) assert.deepEqual(differingLongDoubles(expected, actual ?? ""), []);
        else assert.deepEqual(actual?.split("\n"), expected.split("\n"));
      });
    }

    test("the kernel reports nothing wrong", async () => {
      const messages = await readFile(join(directory, "outputs/dmesg"), "latin1");
      assert.match(messages, /Linux version/);
      assert.deepEqual(messages.match(TROUBLE), null);
    });

    test("the file systems are clean", async () => {
      for (const disk of [rootDisk, programDisk]) {
        const { status, output } = await e2fsprogs("e2fsck", "-f", "-n", disk);
        assert.equal(status, 0, output);
      }
    });

    test(
      "what was synced survives Ctrl-C in mid-write, and the journal makes the rest whole",
      { timeout: 10 * MINUTES },
      async () => {
        const script = `${WITH_DISKS} i=0; while :; do
      i=$((i + 1)); head -c $((i * 7919)) /mnt/inputs/data.bin >/mnt/outputs/kept-$i; sync /mnt/outputs/kept-$i; echo kept $i
      cp -r /mnt/inputs /mnt/outputs/copy-$i; [ $i -lt 3 ] || rm -r /mnt/outputs/copy-$((i - 2)); done`;
        const disks = ["--disk", `${rootDisk},ro`, "--disk", programDisk, "--append", "root=/dev/vda"];
        const { child, ended: end } = startMere(["run", "--kernel", "debian", ...disks, "--", "sh", "-c", script]);
        let heard = "";
        child.stdout!.on("data", (chunk: Buffer) => {
          heard += chunk.toString();
          if (heard.includes("kept 12\n")) child.kill("SIGINT");
        });
        const result = await end;
        assert.equal(result.status, 130, summary(result));
        const features = await e2fsprogs("dumpe2fs", "-h", programDisk);
        assert.match(features.output, /needs_recovery/, "the disk was mounted when the VM was stopped");
        await assertWhole(programDisk);
        await copyFromDisk(programDisk, "/outputs", join(directory, "stopped"));
        const data = await readFile(join(directory, "inputs/data.bin"));
        for (const [, number] of heard.matchAll(/^kept (\d+)$/gm)) {
          const kept = await readFile(join(directory, "stopped/outputs", `kept-${number}`));
          assert.ok(kept.equals(data.subarray(0, Number(number) * 7919)), `kept-${number} has ${kept.length} bytes`);
        }
      },
    );
  },
);
