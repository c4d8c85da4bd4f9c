/* loadLinux and the initramfs against a peer: what loadLinux puts into memory is put into QEMU's, with a firmware of some sixty bytes that enters
 * 64-bit mode as LinuxStart says. So the boot protocol is checked with the real kernel and a processor model that is not ours. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { ExitRecordFilter } from "../src/image/exit-record.ts";
import { buildInitramfs, type InitramfsOptions } from "../src/image/initramfs.ts";
import { ensureBusybox, ensureKernel, vmlinuxPath } from "../src/image/kernel.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import { LOW_RAM_END } from "../src/vm/boot/e820.ts";
import { type LinuxStart, loadLinux } from "../src/vm/boot/linux.ts";

const MEMORY = 192 * 1024 * 1024;
const HIGH_RAM = 1024 * 1024;
const ROM_BASE = 0xffff0000;
const hasQemu = await promisify(execFile)("qemu-system-x86_64", ["--version"]).then(
  () => true,
  () => false,
);

/** Flat memory; only what loadLinux uses. */
function flatMemory(bytes: Buffer): GuestMemory {
  const memory: Partial<GuestMemory> = {
    sizeBytes: bytes.length,
    ranges: () => [{ start: 0, end: bytes.length }],
    contains: (gpa, length) => gpa + length <= bytes.length,
    write: (gpa, from) => (bytes.set(from, gpa), true),
    writeU64: (gpa, value) => bytes.writeBigUInt64LE(value, gpa) > 0,
  };
  return memory as GuestMemory;
}

/** 64 KiB at the top of 4 GiB. Real mode to 64-bit mode in one step: CR4.PAE, CR3, EFER.LME, CR0.PG|PE, far jump. @source SDM vol. 3A §9.8.5 */
function firmware(start: LinuxStart): Buffer {
  const rom = Buffer.alloc(0x10000);
  const u16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
  const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
  rom.set([0xe9, 0x0d, 0x00], 0xfff0); // jmp 0
  rom.set([...u16(start.gdt.limit), ...u32(start.gdt.base)], 0x100);
  const put = (at: number, ...code: number[][]): void => rom.set(code.flat(), at);
  put(
    0,
    [0xfa], // cli
    [0x2e, 0x66, 0x0f, 0x01, 0x16, 0x00, 0x01], // lgdt cs:[0x100]
    [0x66, 0xb8, ...u32(0x20), 0x0f, 0x22, 0xe0], // mov cr4, PAE
    [0x66, 0xb8, ...u32(start.cr3), 0x0f, 0x22, 0xd8], // mov cr3
    [0x66, 0xb9, ...u32(0xc0000080), 0x66, 0xb8, ...u32(0x100), 0x66, 0x31, 0xd2, 0x0f, 0x30], // wrmsr EFER, LME
    [0x66, 0xb8, ...u32(0x80000011), 0x0f, 0x22, 0xc0], // mov cr0, PG|ET|PE
    [0x66, 0xea, ...u32(ROM_BASE + 0x80), ...u16(start.gdt.codeSelector)], // jmp far
  );
  put(
    0x80,
    [0x66, 0xb8, ...u16(start.gdt.dataSelector), 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // ds, es, ss
    [0xbe, ...u32(start.bootParams)], // mov esi
    [0xb8, ...u32(start.entry), 0xff, 0xe0], // jmp entry
  );
  return rom;
}

describe(
  "Debian's kernel in QEMU, as loadLinux starts it",
  { skip: hasQemu ? false : "no qemu-system-x86_64 here" },
  () => {
    let directory = "";
    let vmlinux: Uint8Array;
    let busybox: Uint8Array;
    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "mere-peer-"));
      vmlinux = await readFile(vmlinuxPath(await ensureKernel({}, "debian")));
      busybox = await readFile(await ensureBusybox());
    });
    after(() => rm(directory, { recursive: true, force: true }));

    async function run(options: Partial<InitramfsOptions>): Promise<{ output: string; status: number | undefined }> {
      const initrd = buildInitramfs({
        busybox,
        modules: [],
        command: undefined,
        stdin: "none",
        token: "peer",
        terminal: "ttyS0",
        ...options,
      });
      const bytes = Buffer.alloc(MEMORY);
      const start = loadLinux(flatMemory(bytes), {
        kernel: vmlinux,
        initrd,
        commandLine: "console=ttyS0 quiet panic=-1",
        rngSeed: Buffer.alloc(32, 5),
      });
      const file = (name: string): string => join(directory, name);
      await writeFile(file("rom"), firmware(start));
      await writeFile(file("low"), bytes.subarray(0, LOW_RAM_END));
      await writeFile(file("high"), bytes.subarray(HIGH_RAM));
      await (await open(file("serial"), "w")).close();
      const load = (name: string, address: number): string[] => [
        "-device",
        `loader,file=${file(name)},addr=${address},force-raw=on`,
      ];
      // Without ACPI there is no power-off: the panic=-1 of a later reboot and -no-reboot end QEMU; a hang is ended by the limit.
      const args = [
        "-M",
        "pc,acpi=off",
        "-cpu",
        "max",
        "-m",
        `${MEMORY / 2 ** 20}M`,
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-bios",
        file("rom"),
      ];
      const child = execFile("qemu-system-x86_64", [
        ...args,
        "-serial",
        `file:${file("serial")}`,
        ...load("low", 0),
        ...load("high", HIGH_RAM),
      ]);
      const exited = new Promise((resolve) => child.once("exit", resolve));
      for (const deadline = Date.now() + 90_000; ;) {
        const filter = new ExitRecordFilter("peer");
        const output = Buffer.from(filter.push(await readFile(file("serial")))).toString();
        if (filter.status !== undefined || child.exitCode !== null || Date.now() > deadline) {
          child.kill("SIGKILL");
          await exited;
          return { output, status: filter.status };
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }

    test("a command gets its input, arguments and environment, and its status comes out", async () => {
      const command = ["sh", "-c", 'cat; echo "$0 $1 $V"; grep -c . /proc/cmdline; exit 42', "it's", "a  b"];
      const { output, status } = await run({
        command,
        environment: { V: "$HOME" },
        stdin: Buffer.from("one\ntwo\r\n"),
      });
      assert.match(output, /one\ntwo\r\nit's a {2}b \$HOME\n1\n/);
      assert.equal(status, 42);
    });

    test("a program that does not exist is 127, a root disk that is not there 125", async () => {
      assert.equal((await run({ command: ["/no/such/program"] })).status, 127);
      const { output, status } = await run({ command: ["true"], root: { device: "/dev/vda", fstype: "ext4" } });
      assert.match(output, /mere: the root disk \/dev\/vda does not appear/);
      assert.equal(status, 125);
    });
  },
);
