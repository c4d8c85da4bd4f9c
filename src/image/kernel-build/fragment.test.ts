import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { builtVersion } from "./build.ts";
import { droppedOptions, fragmentFor, parseOptions, readFragment } from "./fragment.ts";

test("lines set options or keep them off; comments are passed over", () => {
  const text = '# a remark\n\nCONFIG_A=y\nCONFIG_TEXT="a b # c"\n# CONFIG_B is not set\nCONFIG_N=0x10\n';
  assert.deepEqual(
    [...parseOptions(text)],
    [
      ["CONFIG_A", "y"],
      ["CONFIG_TEXT", '"a b # c"'],
      ["CONFIG_B", "n"],
      ["CONFIG_N", "0x10"],
    ],
  );
});

test("what Kconfig would pass over in silence is an error", () => {
  for (const text of ["CONFIG_A = y", "A=y", "CONFIG_A=", "CONFIG_A", " CONFIG_A=y"])
    assert.throws(() => parseOptions(text), /is no line of a kernel configuration/, text);
  assert.throws(
    () => parseOptions("CONFIG_A=y\n# CONFIG_A is not set"),
    /CONFIG_A is in the kernel configuration twice/,
  );
});

test("an option that the final configuration has otherwise, or not at all, is dropped; one that is to be off may be unknown", () => {
  const asked = parseOptions("CONFIG_A=y\nCONFIG_B=8\n# CONFIG_C is not set\nCONFIG_D=y\n# CONFIG_E is not set\n");
  const final = (text: string): string[] => droppedOptions(asked, parseOptions(text));
  assert.deepEqual(final("CONFIG_A=y\nCONFIG_B=8\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_MORE=y\n"), []);
  assert.deepEqual(final("CONFIG_A=m\nCONFIG_B=64\nCONFIG_C=y\n# CONFIG_D is not set\n"), [
    "CONFIG_A=y",
    "CONFIG_B=8",
    "CONFIG_C=n",
    "CONFIG_D=y",
  ]);
});

test("an option that only older versions have is asked of those", () => {
  const text = "CONFIG_A=y\n#until 6.9 CONFIG_B=y\n# until 6.9 is prose\n";
  for (const version of ["5.10.1-1", "6.1.192-2", "6.9-1"])
    assert.deepEqual([...parseOptions(fragmentFor(text, version)).keys()], ["CONFIG_A", "CONFIG_B"], version);
  for (const version of ["6.10.1-1", "6.12.5-1~bpo12+1", "7.0-1"])
    assert.deepEqual([...parseOptions(fragmentFor(text, version)).keys()], ["CONFIG_A"], version);
  assert.throws(() => parseOptions(fragmentFor("#until 6 CONFIG_A=y", "6.1")), /is no line/);
});

test("Mere's own fragment is well-formed, and has what Mere's machine cannot do without", async () => {
  const { text, hash } = await readFragment();
  assert.match(hash, /^[0-9a-f]{8}$/);
  const needed = [
    "SMP X86_X2APIC ACPI PCI KVM_GUEST VIRTIO_MMIO VIRTIO_CONSOLE HW_RANDOM_VIRTIO VIRTIO_BLK SERIAL_8250_CONSOLE",
    "SERIAL_8250_PNP BLK_DEV_INITRD DEVTMPFS EXT4_FS PROC_FS SYSFS TMPFS BINFMT_ELF BINFMT_SCRIPT TTY",
  ];
  for (const version of ["6.1.192-2", "6.12.117-1"]) {
    const options = parseOptions(fragmentFor(text, version));
    for (const name of needed.join(" ").split(" ")) assert.equal(options.get(`CONFIG_${name}`), "y", name);
    assert.equal(options.get("CONFIG_MODULES"), "n");
  }
});

test("the key changes with the source's version and with any byte of the fragment", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mere-fragment-"));
  try {
    const hash = async (text: string): Promise<string> => {
      await writeFile(join(directory, "f"), text);
      return (await readFragment(join(directory, "f"))).hash;
    };
    assert.notEqual(await hash("CONFIG_A=y\n"), await hash("CONFIG_A=y\n\n"));
    assert.equal(await hash("CONFIG_A=y\n"), await hash("CONFIG_A=y\n"));
    assert.equal(builtVersion("6.1.192-2", { hash: "01234567" }), "6.1.192-2-mere-01234567");
  } finally {
    await rm(directory, { recursive: true });
  }
});
