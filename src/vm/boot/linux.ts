/* Puts a Linux kernel into a new VM's memory by the 64-bit boot protocol and says how its first vCPU starts.
 * @source Linux Documentation/arch/x86/boot.rst ("64-bit Boot Protocol"), zero-page.rst. The vmlinux runs at the address it was linked for:
 * it comes without its decompressor, which is also what would have moved it (KASLR). Called once per start, on the thread that builds the machine.
 *
 * Low memory, all inside the first range of RAM:
 *   0x00500  GDT          0x07000  boot_params (zero page)   0x09000  PML4   0x0a000  PDPT   0x0b000  4 page directories
 *   0x10000  setup_data   0x20000  command line              kernel at its linked address (16 MiB), initramfs as high as it may be */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { type KernelImage, readKernelImage } from "../../image/bzimage.ts";
import { KernelError } from "../../image/kernel-error.ts";
import { VmlinuxFile } from "../../image/vmlinux-file.ts";
import { E820_ENTRY_SIZE, E820_MAX_ENTRIES, type E820Range, memoryMap } from "./e820.ts";

const GDT = 0x500;
const BOOT_PARAMS = 0x7000;
const PML4 = 0x9000;
const SETUP_DATA = 0x10000;
const COMMAND_LINE = 0x20000;

/** __BOOT_CS and __BOOT_DS: the protocol asks for just these selectors. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
/** Flat 64-bit code (present, execute/read, accessed, L) and flat data (present, read/write, accessed), the first two entries empty. */
const GDT_ENTRIES = [0n, 0n, 0x00af9b000000ffffn, 0x00cf93000000ffffn] as const;

// Offsets into boot_params. @source zero-page.rst, arch/x86/include/uapi/asm/bootparam.h
const ACPI_RSDP_ADDR = 0x070;
const E820_ENTRIES = 0x1e8;
const SETUP_HEADER = 0x1f1;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const HEADER_VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const SETUP_DATA_POINTER = 0x250;
const E820_TABLE = 0x2d0;
const BOOT_PARAMS_SIZE = 0x1000;

const LOADER_UNKNOWN = 0xff;
const LOADED_HIGH = 1;
/** x86's COMMAND_LINE_SIZE less the terminator, and the highest initramfs address: what every 64-bit kernel since 2.6 has in its header. */
const DEFAULT_CMDLINE_SIZE = 2047;
const DEFAULT_INITRD_ADDR_MAX = 0x7fffffff;
const SETUP_RNG_SEED = 9;
const PAGE = 4096;
const MIB = 1024 * 1024;

export interface LinuxBoot {
  /** A bzImage, an ELF vmlinux, either already taken apart, or a vmlinux in its file. */
  readonly kernel: Uint8Array | KernelImage | VmlinuxFile;
  readonly initrd?: Uint8Array;
  /** UTF-8, without terminator. */
  readonly commandLine: string;
  /** Guest-physical address of the ACPI RSDP. */
  readonly acpiRsdp?: number;
  /** What is not free RAM besides the PC's hole: ACPI tables, mailboxes, firmware. */
  readonly firmware?: readonly E820Range[];
  /** Entropy for the kernel's generator, credited at once (Linux 6.0 and later). At most 4 KiB. */
  readonly rngSeed?: Uint8Array;
}

/** How the first vCPU starts: 64-bit mode, paging on with `cr3`, interrupts off, RSI = bootParams, flat segments by `gdt`. */
export interface LinuxStart {
  readonly entry: number;
  readonly bootParams: number;
  readonly cr3: number;
  readonly gdt: {
    readonly base: number;
    readonly limit: number;
    readonly codeSelector: number;
    readonly dataSelector: number;
  };
  /** Where things lie, for messages and tests: [start, end). */
  readonly kernelRange: { readonly start: number; readonly end: number };
  readonly initrdRange: { readonly start: number; readonly end: number } | undefined;
  readonly memoryMap: readonly E820Range[];
}

/** Loads kernel, initramfs and tables. The memory must be new: what is zero in the kernel is not written.
 *  @throws KernelError when the kernel is not one, or something does not fit */
export function loadLinux(memory: GuestMemory, boot: LinuxBoot): LinuxStart {
  const image = boot.kernel instanceof Uint8Array ? readKernelImage(boot.kernel) : boot.kernel;
  const params = newBootParams(image instanceof VmlinuxFile ? undefined : image.setupHeader);
  const view = new DataView(params.buffer);
  const lowRam = memory.ranges()[0] ?? { start: 0, end: 0 };
  const initrdSize = boot.initrd?.length ?? 0;
  if (image.elf.end > lowRam.end || !memory.contains(0, 16 * MIB))
    throw doesNotFit("The kernel", image.elf.end, initrdSize, memory);
  loadSegments(memory, image);

  let initrdRange: { start: number; end: number } | undefined;
  if (boot.initrd !== undefined && initrdSize > 0) {
    const limit = Math.min(
      lowRam.end,
      view.getUint32(INITRD_ADDR_MAX, true) + 1,
      ...firmwareAbove(image.elf.end, boot.firmware),
    );
    const start = Math.floor((limit - initrdSize) / PAGE) * PAGE;
    if (start < image.elf.end) throw doesNotFit("The initramfs", image.elf.end, initrdSize, memory);
    memory.write(start, boot.initrd);
    initrdRange = { start, end: start + initrdSize };
    view.setUint32(RAMDISK_IMAGE, start, true);
    view.setUint32(RAMDISK_SIZE, initrdSize, true);
  }

  writeCommandLine(memory, view, boot.commandLine);
  if (boot.rngSeed !== undefined) writeRngSeed(memory, view, boot.rngSeed);
  if (boot.acpiRsdp !== undefined) view.setBigUint64(ACPI_RSDP_ADDR, BigInt(boot.acpiRsdp), true);
  const map = memoryMap(memory.ranges(), boot.firmware ?? []);
  writeE820(view, map);
  memory.write(BOOT_PARAMS, params);
  writePageTables(memory);
  GDT_ENTRIES.forEach((descriptor, i) => memory.writeU64(GDT + i * 8, descriptor));
  return {
    entry: image.elf.entry,
    bootParams: BOOT_PARAMS,
    cr3: PML4,
    gdt: { base: GDT, limit: GDT_ENTRIES.length * 8 - 1, codeSelector: BOOT_CS, dataSelector: BOOT_DS },
    kernelRange: { start: image.elf.start, end: image.elf.end },
    initrdRange,
    memoryMap: map,
  };
}

/** The zero page with the bzImage's own setup header, or one like it. */
function newBootParams(setupHeader: Uint8Array | undefined): Uint8Array<ArrayBuffer> {
  const params = new Uint8Array(BOOT_PARAMS_SIZE);
  const view = new DataView(params.buffer);
  if (setupHeader !== undefined) params.set(setupHeader.subarray(0, E820_TABLE - SETUP_HEADER), SETUP_HEADER);
  else {
    view.setUint16(BOOT_FLAG, 0xaa55, true);
    view.setUint32(HEADER_MAGIC, 0x53726448, true);
    view.setUint16(HEADER_VERSION, 0x020f, true);
    view.setUint16(XLOADFLAGS, 1, true);
    view.setUint32(INITRD_ADDR_MAX, DEFAULT_INITRD_ADDR_MAX, true);
    view.setUint32(CMDLINE_SIZE, DEFAULT_CMDLINE_SIZE, true);
  }
  params[TYPE_OF_LOADER] = LOADER_UNKNOWN;
  params[LOADFLAGS]! |= LOADED_HIGH;
  return params;
}

function loadSegments(memory: GuestMemory, image: KernelImage | VmlinuxFile): void {
  for (const segment of image.elf.segments) {
    let to = segment.physicalAddress;
    const load = (bytes: Uint8Array): void => {
      writePages(memory, to, bytes);
      to += bytes.length;
    };
    if (image instanceof VmlinuxFile) image.eachPiece(segment, load);
    else load(image.vmlinux.subarray(segment.offset, segment.offset + segment.fileSize));
  }
}
const ZERO_PAGE = Buffer.alloc(PAGE);
/** Copies bytes, page by page, without the pages that are all zero (.bss is a tenth of a kernel and comes as zeros in the file). */
function writePages(memory: GuestMemory, to: number, from: Uint8Array): void {
  const bytes = Buffer.from(from.buffer, from.byteOffset, from.length);
  let runStart = 0;
  for (let at = 0; at < bytes.length;) {
    const next = Math.min(bytes.length, at + PAGE - ((to + at) % PAGE));
    if (bytes[at] === 0 && bytes.compare(ZERO_PAGE, 0, next - at, at, next) === 0) {
      if (at > runStart) memory.write(to + runStart, bytes.subarray(runStart, at));
      runStart = next;
    }
    at = next;
  }
  if (bytes.length > runStart) memory.write(to + runStart, bytes.subarray(runStart));
}

/** The initramfs stays below any firmware range that lies above the kernel. */
function firmwareAbove(end: number, firmware: readonly E820Range[] = []): number[] {
  return firmware.filter((range) => range.start >= end).map((range) => range.start);
}

function writeCommandLine(memory: GuestMemory, view: DataView, commandLine: string): void {
  const bytes = Buffer.from(`${commandLine}\0`);
  const limit = view.getUint32(CMDLINE_SIZE, true) || DEFAULT_CMDLINE_SIZE;
  if (bytes.length - 1 > limit)
    throw new KernelError(
      "command-line-too-long",
      `The kernel command line has ${bytes.length - 1} bytes but this kernel takes ${limit}; shorten --append.`,
    );
  memory.write(COMMAND_LINE, bytes);
  view.setUint32(CMD_LINE_PTR, COMMAND_LINE, true);
}

/** struct setup_data: u64 next, u32 type, u32 len, data. The kernel wipes the seed after use. */
function writeRngSeed(memory: GuestMemory, view: DataView, seed: Uint8Array): void {
  const node = new Uint8Array(16 + Math.min(seed.length, PAGE));
  const nodeView = new DataView(node.buffer);
  nodeView.setUint32(8, SETUP_RNG_SEED, true);
  nodeView.setUint32(12, node.length - 16, true);
  node.set(seed.subarray(0, node.length - 16), 16);
  memory.write(SETUP_DATA, node);
  view.setBigUint64(SETUP_DATA_POINTER, BigInt(SETUP_DATA), true);
}

function writeE820(view: DataView, map: readonly E820Range[]): void {
  const entries = map.slice(0, E820_MAX_ENTRIES);
  view.setUint8(E820_ENTRIES, entries.length);
  entries.forEach((range, i) => {
    const at = E820_TABLE + i * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(range.start), true);
    view.setBigUint64(at + 8, BigInt(range.end - range.start), true);
    view.setUint32(at + 16, range.type, true);
  });
}

/** Identity map of the first 4 GiB in 2-MiB pages: every CPU model has them, and the kernel replaces the tables at once. @source SDM vol. 3A §4.5 */
function writePageTables(memory: GuestMemory): void {
  const PRESENT_WRITABLE = 3n;
  const LARGE = 0x80n;
  const pdpt = PML4 + PAGE;
  memory.writeU64(PML4, BigInt(pdpt) | PRESENT_WRITABLE);
  for (let gib = 0; gib < 4; gib++) {
    const directory = pdpt + PAGE * (1 + gib);
    memory.writeU64(pdpt + gib * 8, BigInt(directory) | PRESENT_WRITABLE);
    for (let i = 0; i < 512; i++)
      memory.writeU64(directory + i * 8, (BigInt(gib * 512 + i) << 21n) | LARGE | PRESENT_WRITABLE);
  }
}

/** Says what is needed, rounded up to whole 64 MiB, with as much again for the initramfs unpacked and 64 MiB to run in. */
function doesNotFit(what: string, kernelEnd: number, initrdSize: number, memory: GuestMemory): KernelError {
  const mib = (bytes: number): number => Math.ceil(bytes / MIB);
  const advised = Math.ceil((kernelEnd + 2 * initrdSize + 64 * MIB) / (64 * MIB)) * 64;
  const needs = `kernel up to ${mib(kernelEnd)} MiB${initrdSize > 0 ? `, initramfs ${mib(initrdSize)} MiB` : ""}`;
  // RAM above 4 GiB does not help: both must lie below initrd_addr_max (2 GiB).
  if (kernelEnd + initrdSize > DEFAULT_INITRD_ADDR_MAX)
    return new KernelError(
      "does-not-fit",
      `${what} is too large for the boot protocol (${needs}; both must fit into 2 GiB); give a smaller one, or put its files on a disk.`,
    );
  return new KernelError(
    "does-not-fit",
    `${what} does not fit into ${Math.floor(memory.sizeBytes / MIB)} MiB of memory (${needs}); use --memory ${advised}M or more.`,
  );
}
