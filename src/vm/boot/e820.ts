/* The memory map that the kernel is told. @source Linux Documentation/arch/x86/zero-page.rst; ACPI 6.5 §15 (address range types)
 *
 *   entry, 20 bytes:  0 u64 addr   8 u64 size   16 u32 type */

export const E820 = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4 } as const;

/** [start, end) in guest-physical bytes. */
export interface E820Range {
  readonly start: number;
  readonly end: number;
  readonly type: (typeof E820)[keyof typeof E820];
}

export const E820_ENTRY_SIZE = 20;
/** boot_params has room for this many. */
export const E820_MAX_ENTRIES = 128;

/** The last KiB below 640 KiB is the extended BIOS data area on every PC; nothing up to 1 MiB is RAM for the kernel. */
export const LOW_RAM_END = 0x9fc00;
export const HIGH_RAM_START = 0x100000;

/** RAM less the PC's hole below 1 MiB and less the firmware's own ranges; ascending, nothing overlaps. */
export function memoryMap(ram: readonly { start: number; end: number }[], firmware: readonly E820Range[]): E820Range[] {
  const taken = [{ start: LOW_RAM_END, end: HIGH_RAM_START }, ...firmware].sort((a, b) => a.start - b.start);
  const map: E820Range[] = [...firmware];
  for (const range of ram) {
    let start = range.start;
    for (const hole of taken) {
      if (hole.end <= start || hole.start >= range.end) continue;
      if (hole.start > start) map.push({ start, end: hole.start, type: E820.RAM });
      start = hole.end;
    }
    if (start < range.end) map.push({ start, end: range.end, type: E820.RAM });
  }
  return map.sort((a, b) => a.start - b.start);
}
