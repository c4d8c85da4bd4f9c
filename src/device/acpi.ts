/* ACPI tables of a machine: RSDP, XSDT, hardware-reduced FADT, MADT, DSDT. @source ACPI 6.5 §5.2. Built once, on the main thread, as one block of
 * bytes that the boot loader puts into guest memory (reported as ACPI data) and points boot_params.acpi_rsdp_addr at.
 * Leaves out: RSDT, FACS, HPET, MCFG, all fixed hardware. */
import {
  type Aml,
  ascii,
  device,
  integer,
  ioPorts,
  levelInterrupt,
  little,
  memory32,
  name,
  packageOf,
  resources,
  scope,
  string,
} from "./aml.ts";
import type { MachineLayout } from "./layout.ts";
import { PowerOffset, RESET_VALUE, SLEEP_TYPE_S5 } from "./power.ts";

const OEM_ID = "MERE";
const LOCAL_APIC_ADDRESS = 0xfee00000;
const HEADER_BYTES = 36;
const RSDP_BYTES = 36;

/** FADT feature flags. @source §5.2.9, table 5.10 */
const FadtFlag = {
  WBINVD: 1 << 0,
  PWR_BUTTON: 1 << 4, // none of the fixed kind
  SLP_BUTTON: 1 << 5,
  RESET_REG_SUP: 1 << 10,
  HEADLESS: 1 << 12,
  FORCE_APIC_PHYSICAL_DESTINATION_MODE: 1 << 19,
  HW_REDUCED_ACPI: 1 << 20,
} as const;
/** IA-PC boot architecture flags: no VGA, no MSI, no CMOS RTC; LEGACY_DEVICES and 8042 stay clear. @source §5.2.9.3 */
const BOOT_ARCH = (1 << 2) | (1 << 3) | (1 << 5);

export interface AcpiTables {
  /** Guest-physical address of the RSDP and of `bytes`. */
  rsdp: number;
  bytes: Uint8Array;
}

/** Builds all tables.
 *  @param at guest-physical address for the block, below 4 GiB, 64-byte aligned */
export function buildAcpiTables(layout: MachineLayout, at: number): AcpiTables {
  const block: number[] = new Array<number>(RSDP_BYTES).fill(0);
  const add = (bytes: readonly number[]): number => {
    while (block.length % 64 !== 0) block.push(0);
    const address = at + block.length;
    block.push(...bytes);
    return address;
  };
  const dsdt = add(table("DSDT", 2, dsdtBody(layout)));
  const fadt = add(table("FACP", 6, fadtBody(layout, dsdt)));
  const madt = add(table("APIC", 5, madtBody(layout)));
  const xsdt = add(table("XSDT", 1, [...little(fadt, 8), ...little(madt, 8)]));
  block.splice(0, RSDP_BYTES, ...rsdp(xsdt));
  return { rsdp: at, bytes: Uint8Array.from(block) };
}

function sumTo0(bytes: readonly number[]): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** @source §5.2.6 System Description Table Header */
function table(signature: string, revision: number, body: readonly number[]): number[] {
  const bytes = [
    ...ascii(signature),
    ...little(HEADER_BYTES + body.length, 4),
    revision,
    0,
    ...ascii(OEM_ID, 6),
    ...ascii("MERE", 8),
    ...little(1, 4),
    ...ascii("MERE"),
    ...little(1, 4),
    ...body,
  ];
  bytes[9] = sumTo0(bytes);
  return bytes;
}

/** @source §5.2.5.3 */
function rsdp(xsdt: number): number[] {
  const bytes = [
    ...ascii("RSD PTR "),
    0,
    ...ascii(OEM_ID, 6),
    2,
    ...little(0, 4),
    ...little(RSDP_BYTES, 4),
    ...little(xsdt, 8),
    0,
    0,
    0,
    0,
  ];
  bytes[8] = sumTo0(bytes.slice(0, 20));
  bytes[32] = sumTo0(bytes);
  return bytes;
}

/** Generic Address Structure of one byte of memory. @source §5.2.3.2 */
function memoryByte(address: number): number[] {
  return [0, 8, 0, 1, ...little(address, 8)];
}

/** @source §5.2.9 FADT. Offsets are those of the whole table. */
function fadtBody(layout: MachineLayout, dsdt: number): number[] {
  const bytes = new Array<number>(276).fill(0);
  const put = (offset: number, value: readonly number[]): void => void bytes.splice(offset, value.length, ...value);
  const power = layout.power.base;
  const flags =
    FadtFlag.WBINVD |
    FadtFlag.PWR_BUTTON |
    FadtFlag.SLP_BUTTON |
    FadtFlag.RESET_REG_SUP |
    FadtFlag.HEADLESS |
    FadtFlag.FORCE_APIC_PHYSICAL_DESTINATION_MODE |
    FadtFlag.HW_REDUCED_ACPI;
  put(40, little(dsdt, 4));
  put(45, [4]); // Preferred_PM_Profile: enterprise server
  put(109, little(BOOT_ARCH, 2));
  put(112, little(flags, 4));
  put(116, memoryByte(power + PowerOffset.RESET));
  put(128, [RESET_VALUE]);
  put(131, [5]); // minor version: 6.5
  put(140, little(dsdt, 8));
  put(244, memoryByte(power + PowerOffset.SLEEP_CONTROL));
  put(256, memoryByte(power + PowerOffset.SLEEP_STATUS));
  put(268, ascii("MERE", 8, "\0"));
  return bytes.slice(HEADER_BYTES);
}

/** @source §5.2.12 MADT. No PC-AT compatible PICs, so no interrupt source overrides either: interrupts are wired as the DSDT says. */
function madtBody(layout: MachineLayout): number[] {
  const entries: number[][] = [];
  for (let id = 0; id < layout.vcpus; id++) {
    // Linux takes an x2APIC entry below 255 only when it has chosen an x2APIC driver already; the short form it always takes.
    if (id < 255) entries.push([0, 8, id, id, ...little(1, 4)]);
    else entries.push([9, 16, 0, 0, ...little(id, 4), ...little(1, 4), ...little(id, 4)]);
  }
  entries.push([1, 12, 0, 0, ...little(layout.ioApic.base, 4), ...little(0, 4)]);
  if (layout.vcpus > 1) entries.push([0x10, 16, ...little(0, 2), ...little(0, 4), ...little(layout.mailbox.base, 8)]);
  return [...little(LOCAL_APIC_ADDRESS, 4), ...little(0, 4), ...entries.flat()];
}

function dsdtBody(layout: MachineLayout): number[] {
  const processors = Array.from({ length: layout.vcpus }, (_, id) =>
    device(`C${hex3(id)}`, [name("_HID", string("ACPI0007")), name("_UID", integer(id))]),
  );
  const serial = device("COM1", [
    name("_HID", string("PNP0501")),
    name("_UID", integer(0)),
    name("_CRS", resources([ioPorts(layout.serial.port, 8), levelInterrupt(layout.serial.irq)])),
  ]);
  const virtio = layout.virtio.map((place, index) =>
    device(`V${hex3(index)}`, [
      name("_HID", string("LNRO0005")),
      name("_UID", integer(index)),
      name("_CCA", integer(1)),
      name("_CRS", resources([memory32(place.base, 0x200), levelInterrupt(place.irq)])),
    ]),
  );
  const s5: Aml = name("\\_S5", packageOf([integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0)]));
  return [...s5, ...scope("\\_SB", [...processors, serial, ...virtio])];
}
function hex3(index: number): string {
  return index.toString(16).toUpperCase().padStart(3, "0");
}
