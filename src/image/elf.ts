/* ELF64 as far as kernels need it: header, loadable segments, sections by name (for a module's .modinfo).
 * @source System V ABI, "Object Files"; x86-64 psABI. Leaves out symbols, relocations, dynamic linking.
 *
 *   0x00 e_ident (class at 4, data at 5)   0x10 u16 e_type     0x12 u16 e_machine   0x18 u64 e_entry   0x20 u64 e_phoff
 *   0x28 u64 e_shoff    0x36 u16 e_phentsize 0x38 u16 e_phnum   0x3a u16 e_shentsize 0x3c u16 e_shnum 0x3e u16 e_shstrndx
 *   program header:  u32 p_type, u32 p_flags, u64 p_offset, u64 p_vaddr, u64 p_paddr, u64 p_filesz, u64 p_memsz, u64 p_align
 *   section header:  u32 sh_name, u32 sh_type, u64 sh_flags, u64 sh_addr, u64 sh_offset, u64 sh_size, … */
import { KernelError } from "./kernel-error.ts";

const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const EM_386 = 3;
const EM_X86_64 = 62;
const PROGRAM_HEADER_SIZE = 56;
const SECTION_HEADER_SIZE = 64;
/** Other machines that a kernel file is likely to be for, for the message only. */
const MACHINES: Readonly<Record<number, string>> = {
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC",
  22: "s390x",
  40: "32-bit ARM",
  183: "aarch64",
  243: "RISC-V",
  258: "LoongArch",
};

/** A part of the file that is loaded: bytes [offset, offset+fileSize) go to physicalAddress, the rest up to memorySize is zero. */
export interface ElfSegment {
  readonly physicalAddress: number;
  readonly virtualAddress: bigint;
  readonly offset: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

export interface ElfKernel {
  /** Physical address of startup_64. */
  readonly entry: number;
  /** Ascending by physical address; at least one. */
  readonly segments: readonly ElfSegment[];
  /** Physical address range that the kernel takes, .bss and .brk included. */
  readonly start: number;
  readonly end: number;
}

export function isElf(data: Uint8Array): boolean {
  return data.length >= 4 && data[0] === 0x7f && data[1] === 0x45 && data[2] === 0x4c && data[3] === 0x46;
}

/** Reads the headers of a vmlinux and checks that it can be loaded. Copies nothing. @param data the file, or its beginning, with the headers  @param size of the file  @throws KernelError */
export function parseElfKernel(data: Uint8Array, size: number = data.length): ElfKernel {
  checkHeader(data);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const type = view.getUint16(0x10, true);
  if (type !== ET_EXEC && type !== ET_DYN)
    throw new KernelError(
      "not-a-kernel",
      "The kernel is an ELF file but not an executable one; give a bzImage (vmlinuz) or a vmlinux.",
    );
  const segments = readSegments(view, size);
  if (segments.length === 0)
    throw new KernelError(
      "not-a-kernel",
      "The kernel is an ELF file with nothing to load; give a bzImage (vmlinuz) or a vmlinux.",
    );
  const rawEntry = view.getBigUint64(0x18, true);
  // x86-64's linker script makes e_entry physical; a vmlinux that went through other tools may have the virtual one.
  const home = segments.find((s) => rawEntry >= s.virtualAddress && rawEntry < s.virtualAddress + BigInt(s.memorySize));
  const isPhysical = segments.some((s) => rawEntry >= s.physicalAddress && rawEntry < s.physicalAddress + s.memorySize);
  const entry =
    isPhysical || home === undefined ? Number(rawEntry) : home.physicalAddress + Number(rawEntry - home.virtualAddress);
  const start = segments[0]!.physicalAddress;
  const end = segments.reduce((highest, s) => Math.max(highest, s.physicalAddress + s.memorySize), 0);
  if (!(entry >= start && entry < end))
    throw new KernelError(
      "not-a-kernel",
      "The kernel's entry point lies outside its segments, so it is not a Linux vmlinux for x86-64.",
    );
  return { entry, segments, start, end };
}

function checkHeader(data: Uint8Array): void {
  if (!isElf(data))
    throw new KernelError(
      "not-a-kernel",
      "The file is no Linux kernel; give a bzImage (vmlinuz) or an ELF vmlinux for x86-64.",
    );
  if (data.length < 64)
    throw new KernelError(
      "truncated",
      `The kernel ends after ${data.length} bytes, inside its ELF header; copy or download it again.`,
    );
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const machine = data[5] === ELFDATA2LSB ? view.getUint16(0x12, true) : view.getUint16(0x12, false);
  if (machine === EM_386 || (machine === EM_X86_64 && data[4] === ELFCLASS32))
    throw new KernelError(
      "32-bit",
      "The kernel is for 32-bit x86; Mere runs 64-bit kernels only, so give one for x86-64 (amd64).",
    );
  if (machine !== EM_X86_64 || data[4] !== ELFCLASS64)
    throw new KernelError(
      "wrong-architecture",
      `The kernel is for ${MACHINES[machine] ?? `machine ${machine}`}; Mere runs amd64 guests, so give a kernel for x86-64.`,
    );
}

function readSegments(view: DataView, size: number): ElfSegment[] {
  const at = Number(view.getBigUint64(0x20, true));
  const count = view.getUint16(0x38, true);
  const tableEnd = at + count * PROGRAM_HEADER_SIZE;
  if (view.getUint16(0x36, true) !== PROGRAM_HEADER_SIZE)
    throw new KernelError(
      "corrupt",
      "The kernel's ELF program headers have an unknown size; copy or download it again.",
    );
  if (tableEnd > view.byteLength) throw truncated(view.byteLength, tableEnd);
  const segments: ElfSegment[] = [];
  for (let header = at; header < tableEnd; header += PROGRAM_HEADER_SIZE) {
    if (view.getUint32(header, true) !== PT_LOAD) continue;
    const field = (offset: number): number => Number(view.getBigUint64(header + offset, true));
    const segment = {
      offset: field(8),
      virtualAddress: view.getBigUint64(header + 16, true),
      physicalAddress: field(24),
      fileSize: field(32),
      memorySize: field(40),
    };
    if (segment.memorySize === 0) continue;
    if (segment.offset + segment.fileSize > size) throw truncated(size, segment.offset + segment.fileSize);
    // 2^52: the widest physical address; above it the numbers would also lose exactness.
    if (segment.fileSize > segment.memorySize || segment.physicalAddress + segment.memorySize > 2 ** 52)
      throw new KernelError("corrupt", "The kernel's ELF segments make no sense; copy or download it again.");
    segments.push(segment);
  }
  return segments.sort((a, b) => a.physicalAddress - b.physicalAddress);
}

function truncated(have: number, need: number): KernelError {
  return new KernelError(
    "truncated",
    `The kernel is cut off (${have} of at least ${need} bytes); copy or download it again.`,
  );
}

/** The bytes of a section of a 64-bit little-endian ELF file, or undefined if there is none or the file is damaged. No copy. */
export function elfSection(data: Uint8Array, name: string): Uint8Array | undefined {
  if (!isElf(data) || data.length < 64 || data[4] !== ELFCLASS64 || data[5] !== ELFDATA2LSB) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const table = Number(view.getBigUint64(0x28, true));
  const count = view.getUint16(0x3c, true);
  if (view.getUint16(0x3a, true) !== SECTION_HEADER_SIZE || table + count * SECTION_HEADER_SIZE > data.length)
    return undefined;
  const bytesOf = (index: number): Uint8Array => {
    const start = Number(view.getBigUint64(table + index * SECTION_HEADER_SIZE + 0x18, true));
    return data.subarray(start, start + Number(view.getBigUint64(table + index * SECTION_HEADER_SIZE + 0x20, true)));
  };
  const nameIndex = view.getUint16(0x3e, true);
  if (nameIndex >= count) return undefined;
  const names = bytesOf(nameIndex);
  for (let i = 0; i < count; i++) {
    const start = view.getUint32(table + i * SECTION_HEADER_SIZE, true);
    const end = names.indexOf(0, start);
    if (end > start && Buffer.from(names.subarray(start, end)).toString("latin1") === name) return bytesOf(i);
  }
  return undefined;
}
