/* Linux kernel images: reads a bzImage's setup header and takes the vmlinux out of it, so that no guest cycles go to decompression.
 * @source Linux Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"), protocol 2.12 and later.
 * Leaves out bzip2, lzma, lzo payloads and kernels that are not for x86-64. Blocking: up to about a second for xz. Called by the kernel cache and the boot loader.
 *
 *   0x1f1 u8  setup_sects       0x1fe u16 boot_flag 0xaa55    0x201 u8  jump: the header ends at 0x202 + this   0x202 u32 header "HdrS"
 *   0x206 u16 version           0x211 u8  loadflags           0x22c u32 initrd_addr_max     0x236 u16 xloadflags (bit 0 XLF_KERNEL_64)
 *   0x238 u32 cmdline_size      0x248 u32 payload_offset      0x24c u32 payload_length      0x260 u32 init_size */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { CompressionError } from "./compression/compression-error.ts";
import { decompressLz4Legacy, LZ4_LEGACY_MAGIC } from "./compression/lz4.ts";
import { decompressXz, isXz } from "./compression/xz.ts";
import { type ElfKernel, isElf, parseElfKernel } from "./elf.ts";
import { KernelError } from "./kernel-error.ts";

const SETUP_HEADER = 0x1f1;
const BOOT_FLAG = 0xaa55;
const HDRS = 0x53726448;
const XLF_KERNEL_64 = 1;
/** 2.12 (Linux 3.8) brought xloadflags, which tell 64-bit kernels. */
const OLDEST_VERSION = 0x020c;
/** A kernel of more than this is damaged: Linux itself refuses to link above 1 GiB. */
const LARGEST_VMLINUX = 1024 * 1024 * 1024;

/** A kernel ready to be loaded. */
export interface KernelImage {
  /** The ELF vmlinux: a view on the file for a raw vmlinux. */
  readonly vmlinux: Uint8Array;
  readonly elf: ElfKernel;
  /** boot_params' setup header (from offset 0x1f1) of a bzImage; undefined for a raw vmlinux. */
  readonly setupHeader: Uint8Array | undefined;
}

/** Reads a bzImage or an ELF vmlinux and takes it apart. @throws KernelError */
export function readKernelImage(file: Uint8Array): KernelImage {
  if (isElf(file)) return { vmlinux: file, elf: parseElfKernel(file), setupHeader: undefined };
  const header = readSetupHeader(file);
  const vmlinux = decompressPayload(header.payload);
  return { vmlinux, elf: parseElfKernel(vmlinux), setupHeader: header.bytes };
}

function readSetupHeader(file: Uint8Array): { bytes: Uint8Array; payload: Uint8Array } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const foreign = foreignArchitecture(file, view);
  if (foreign !== undefined)
    throw new KernelError(
      "wrong-architecture",
      `The kernel is for ${foreign}; Mere runs amd64 guests, so give a kernel for x86-64.`,
    );
  if (file.length < 0x200 || view.getUint16(0x1fe, true) !== BOOT_FLAG)
    throw new KernelError(
      "not-a-kernel",
      "The file is no Linux kernel; give a bzImage (vmlinuz) or an ELF vmlinux for x86-64.",
    );
  if (file.length < 0x268) throw truncated(file.length, 0x268);
  if (view.getUint32(0x202, true) !== HDRS)
    throw new KernelError(
      "not-a-kernel",
      "The file is a boot sector but no Linux kernel; give a bzImage (vmlinuz) or an ELF vmlinux for x86-64.",
    );
  const version = view.getUint16(0x206, true);
  if (version < OLDEST_VERSION)
    throw new KernelError(
      "too-old",
      `The kernel speaks boot protocol ${version >> 8}.${version & 0xff}, older than 2.12; give a kernel from Linux 3.8 on.`,
    );
  if ((view.getUint16(0x236, true) & XLF_KERNEL_64) === 0)
    throw new KernelError(
      "32-bit",
      "The kernel is for 32-bit x86; Mere runs 64-bit kernels only, so give one for x86-64 (amd64).",
    );
  // A setup_sects of 0 means 4, for very old boot loaders' sake.
  const start = ((file[SETUP_HEADER]! || 4) + 1) * 512 + view.getUint32(0x248, true);
  const end = start + view.getUint32(0x24c, true);
  if (end > file.length) throw truncated(file.length, end);
  return { bytes: file.slice(SETUP_HEADER, 0x202 + file[0x201]!), payload: file.subarray(start, end) };
}

/** Kernels of other architectures that are no ELF files. @source Documentation/arch/{arm64,riscv}/boot*.rst, arm/booting.rst */
function foreignArchitecture(file: Uint8Array, view: DataView): string | undefined {
  if (file.length < 0x40) return undefined;
  if (view.getUint32(0x38, true) === 0x644d5241) return "aarch64";
  if (view.getUint32(0x38, true) === 0x05435352) return "RISC-V";
  if (view.getUint32(0x24, true) === 0x016f2818) return "32-bit ARM";
  // An EFI zboot image ("MZ", "zimg"): x86 kernels never are.
  if (view.getUint32(4, true) === 0x676d697a) return "another architecture (an EFI zboot image, as for aarch64)";
  // Debian's arm64 kernels are a gzip-compressed Image.
  if (file[0] === 0x1f && file[1] === 0x8b) return "another architecture (a gzip-compressed image, as for aarch64)";
  return undefined;
}

/** The payload is the compressed vmlinux; its last four bytes are the size that it decompresses to (for gzip they are its own trailer). */
function decompressPayload(payload: Uint8Array): Uint8Array {
  if (payload.length < 16)
    throw new KernelError("corrupt", "The kernel's compressed part is empty; copy or download it again.");
  if (isElf(payload)) return payload;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const size = view.getUint32(payload.length - 4, true);
  const data = payload.subarray(0, payload.length - 4);
  if (size > LARGEST_VMLINUX)
    throw new KernelError(
      "corrupt",
      "The kernel's compressed part says an impossible size; copy or download it again.",
    );
  const magic = view.getUint32(0, true);
  try {
    let vmlinux: Uint8Array;
    if ((magic & 0xffff) === 0x8b1f) vmlinux = gunzipSync(payload, { maxOutputLength: size });
    else if (magic === 0xfd2fb528) vmlinux = zstdDecompressSync(data, { maxOutputLength: size });
    else if (isXz(payload)) vmlinux = decompressXz(data, size);
    else if (magic === LZ4_LEGACY_MAGIC) vmlinux = decompressLz4Legacy(data, size);
    else throw unsupported(payload);
    if (vmlinux.length !== size) throw new CompressionError(`${vmlinux.length} bytes instead of ${size}`);
    return vmlinux;
  } catch (error) {
    if (error instanceof KernelError) throw error;
    const detail = error instanceof Error ? error.message : String(error);
    throw new KernelError(
      "corrupt",
      `The kernel's compressed part is damaged (${detail}); copy or download it again.`,
      { cause: error },
    );
  }
}

function unsupported(payload: Uint8Array): KernelError {
  const starts = (...bytes: number[]): boolean => bytes.every((byte, i) => payload[i] === byte);
  const name = starts(0x42, 0x5a, 0x68)
    ? "bzip2"
    : starts(0x5d, 0, 0)
      ? "lzma"
      : starts(0x89, 0x4c, 0x5a, 0x4f)
        ? "lzo"
        : "an unknown method";
  return new KernelError(
    "unsupported-compression",
    `The kernel is compressed with ${name}; give one compressed with gzip, xz, lz4 or zstd, or its uncompressed vmlinux.`,
  );
}

function truncated(have: number, need: number): KernelError {
  return new KernelError(
    "truncated",
    `The kernel is cut off (${have} of at least ${need} bytes); copy or download it again.`,
  );
}
