/* Everything a user can give `mere run` that is no good: one sentence that says what to do, the right exit status, nothing on standard output, nothing left in the cache.
 * Nothing here runs a guest. Words on the command line that are wrong by themselves are in src/cli/main.test.ts. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { makeBzImage, makeElf } from "../src/image/kernel-file.fixture.ts";
import { runMere } from "./support/mere.ts";

const work = mkdtempSync(join(tmpdir(), "mere-bad-"));
after(() => rmSync(work, { recursive: true, force: true }));

function file(name: string, content: Uint8Array | string | number): string {
  const path = join(work, name);
  writeFileSync(path, typeof content === "number" ? "" : content);
  if (typeof content === "number") truncateSync(path, content);
  return path;
}

const MIB = 2 ** 20;
const code = Buffer.alloc(4096, 0xf4);
const elf = makeElf([{ physicalAddress: 16 * MIB, data: code }]);
const bzImage = makeBzImage(gzipSync(elf));
const damaged = Buffer.from(bzImage);
damaged.fill(0x55, damaged.length - 40, damaged.length - 20);
const kernel = file("kernel", elf);
const initrd = file("initrd", "initramfs");
const disk = file("disk", 65_536);

/** Runs mere without a cache and without programs, checks that it says one sentence, and returns it. */
async function sentence(words: readonly string[], status: number, path = work): Promise<string> {
  const cache = mkdtempSync(join(work, "cache-"));
  const ended = await runMere(["run", ...words], { env: { XDG_CACHE_HOME: cache, PATH: path } });
  assert.deepEqual([ended.status, ended.stdout.toString()], [status, ""], ended.stderr);
  // What it did until then is told on lines that end in "…" or "done".
  const said = /^(?:.* …\n.*: done\n)*mere run: (.*)\.\n$/.exec(ended.stderr)?.[1];
  assert.ok(said !== undefined, `not one sentence: ${ended.stderr}`);
  // Node's cache of compiled code is none of a user's business.
  const left = readdirSync(cache, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith(join(cache, "mere", "node")));
  assert.deepEqual(left, []);
  return said;
}

describe("a kernel", { concurrency: 2 }, () => {
  const kernels: [string, Uint8Array, RegExp][] = [
    ["an empty file", Buffer.alloc(0), /^The file is no Linux kernel; give a bzImage/],
    ["text", Buffer.from("#!/bin/sh\n".repeat(100)), /^The file is no Linux kernel; give a bzImage/],
    ["an ELF file cut off", elf.subarray(0, 0x1100), /^The kernel is cut off \(4352 of at least 8192 bytes\); copy/],
    ["an ELF header cut off", elf.subarray(0, 20), /^The kernel ends after 20 bytes, inside its ELF header; copy/],
    ["for aarch64", makeElf([{ physicalAddress: 0, data: code }], { machine: 183 }), /is for aarch64; Mere runs amd64/],
    ["for 32-bit x86", makeElf([{ physicalAddress: 0, data: code }], { machine: 3, elfClass: 1 }), /is for 32-bit x86/],
    ["an object file", makeElf([{ physicalAddress: 0, data: code }], { type: 1 }), /not an executable one; give/],
    ["a bzImage cut off", bzImage.subarray(0, bzImage.length - 1), /^The kernel is cut off/],
    ["a damaged bzImage", damaged, /^The kernel's compressed part is damaged .*; copy or download it again$/],
    ["a bzImage for 32 bits", makeBzImage(gzipSync(elf), { xloadflags: 0 }), /is for 32-bit x86/],
    ["an ancient bzImage", makeBzImage(gzipSync(elf), { version: 0x204 }), /boot protocol 2\.4, older than 2\.12/],
    ["a bzImage around text", makeBzImage(gzipSync("no kernel")), /no Linux kernel|damaged/],
    [
      "too large for the memory",
      makeElf([{ physicalAddress: 16 * MIB, data: code, memorySize: 100 * MIB }]),
      /^The kernel does not fit into 64 MiB of memory .*; use --memory \d+M or more$/,
    ],
  ];
  for (const [name, content, said] of kernels) {
    test(`that is ${name}`, async () => {
      const path = file(`kernel ${name}`, content);
      assert.match(await sentence(["--memory", "64M", "--kernel", path, "--initrd", initrd], 1), said);
    });
  }

  test("that is missing or a directory is a mistake on the command line", async () => {
    assert.match(await sentence(["--kernel", join(work, "none"), "true"], 2), /cannot be opened: no such file; check/);
    assert.match(await sentence(["--kernel", work, "true"], 2), /is not a file; give the path of a file$/);
  });

  test("with a command line that is too long", async () => {
    const words = ["--kernel", kernel, "--initrd", initrd, "--append", "x".repeat(3000)];
    assert.match(await sentence(words, 1), /command line has 3000 bytes .*; shorten --append$/);
  });
});

describe("an initramfs", { concurrency: 2 }, () => {
  test("that does not fit into the memory", async () => {
    const words = ["--memory", "64M", "--kernel", kernel, "--initrd", file("large", 60 * MIB)];
    assert.match(await sentence(words, 1), /^The initramfs does not fit into 64 MiB .*; use --memory \d+M or more$/);
  });

  test("that is missing is a mistake on the command line", async () => {
    const words = ["--kernel", kernel, "--initrd", join(work, "none")];
    assert.match(await sentence(words, 2), /^--initrd .* cannot be opened: no such file; check the path$/);
  });
});

describe("a disk", { concurrency: 2 }, () => {
  const boot = ["--kernel", kernel, "--initrd", initrd];
  test("that is missing, or a directory, is a mistake on the command line", async () => {
    assert.match(await sentence([...boot, "--disk", join(work, "none")], 2), /cannot be opened: no such file; check/);
    assert.match(await sentence([...boot, "--disk", work], 2), /is not a file; give the path of a file$/);
  });

  test("that is given twice is a mistake on the command line", async () => {
    assert.match(await sentence([...boot, "--disk", disk, "--disk", disk], 2), /is given twice; write to it once only/);
  });

  test("of an odd size, or empty", async () => {
    assert.match(
      await sentence([...boot, "--disk", file("odd", 1000)], 1),
      /has 1000 bytes, which is not a multiple of 512: is it a raw disk image\? If so, extend it$/,
    );
    assert.match(await sentence([...boot, "--disk", file("empty", 0)], 1), /is empty: give it a size first, for/);
  });

  // Nothing is forbidden to root.
  test("that may not be read, or not be written", { skip: process.getuid?.() === 0 }, async () => {
    const unreadable = file("unreadable", 4096);
    chmodSync(unreadable, 0);
    assert.match(await sentence([...boot, "--disk", unreadable], 2), /may not be read and written; check its perm/);
    const unwritable = file("unwritable", 4096);
    chmodSync(unwritable, 0o444);
    assert.match(await sentence([...boot, "--disk", unwritable], 2), /may not be read and written; check its perm/);
  });
});

describe("without a cached kernel", { concurrency: 2 }, () => {
  /** A directory with programs that apt's place in PATH is given to. */
  function programs(name: string, stub: string): string {
    const directory = join(work, name);
    mkdirSync(directory);
    for (const program of ["apt-get", "apt-cache"]) {
      writeFileSync(join(directory, program), `#!/bin/sh\n${stub}\n`, { mode: 0o755 });
    }
    return directory;
  }

  test("and without apt", async () => {
    assert.match(
      await sentence(["--", "true"], 1),
      /^apt-get was not found: kernels, tools and images come from Debian's packages; install apt, or give a kernel with --kernel FILE$/,
    );
  });

  test("and without a network", async () => {
    // What apt says then: `update` only warns, the package lists stay empty.
    const stub = `case "$*" in
*update*) echo "W: Failed to fetch http://mirror.example/debian/dists/stable/InRelease  Temporary failure resolving 'mirror.example'" >&2 ;;
*) echo "E: No packages found" >&2; exit 100 ;;
esac`;
    assert.match(
      await sentence(["--", "true"], 1, programs("no-network", stub)),
      /^Debian's package servers could not be reached for .*; check the network or apt's proxy settings, or give a kernel with --kernel FILE$/,
    );
  });

  test("and with an apt that knows no such package", async () => {
    assert.match(
      await sentence(["--", "true"], 1, programs("no-package", `echo "E: No packages found" >&2; exit 100`)),
      /^apt knows no package linux-image-cloud-amd64 for amd64; add a Debian source to apt, or give a kernel with/,
    );
  });

  test("and without a home that can be written", async () => {
    const ended = await runMere(["run", "--", "true"], { env: { XDG_CACHE_HOME: kernel } });
    assert.equal(ended.status, 1);
    assert.match(
      ended.stderr,
      /^mere run: The cache .* cannot be written; set XDG_CACHE_HOME to a directory that can\.\n$/,
    );
  });
});
