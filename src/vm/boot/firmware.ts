/* What the firmware of a PC would leave behind for processors that the guest starts: an identity map of all guest-physical memory and a GDT, in memory that the
 * guest leaves alone. @source ACPI 6.5 §5.2.12.19: 64-bit mode, "page tables … identity-mapped", interrupts disabled
 *
 *   +0x0000  PML4     +0x1000  PDPT, 512 pages of 1 GiB     +0x2000  GDT */
import { BOOT_GDT } from "../../isa/system/long-mode.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";

export const FIRMWARE_BYTES = 0x3000;
const GIB = 1n << 30n;
const PRESENT_WRITABLE = 3n;
const PAGE_SIZE = 0x80n;

/** @param at guest-physical address, page aligned  @returns what a vCPU that starts there needs */
export function writeFirmware(memory: GuestMemory, at: number): { cr3: bigint; gdtBase: bigint } {
  const [pdpt, gdt] = [at + 0x1000, at + 0x2000];
  memory.writeU64(at, BigInt(pdpt) | PRESENT_WRITABLE);
  for (let i = 0; i < 512; i++) memory.writeU64(pdpt + 8 * i, (BigInt(i) * GIB) | PAGE_SIZE | PRESENT_WRITABLE);
  BOOT_GDT.forEach((descriptor, i) => memory.writeU64(gdt + 8 * i, descriptor));
  return { cr3: BigInt(at), gdtBase: BigInt(gdt) };
}
