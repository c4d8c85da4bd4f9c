/* `mere disk`: disks that have names, in $XDG_DATA_HOME/mere/disks: create, list, grow, export and remove. A VM gets them by `mere run --disk NAME`. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import {
  copyDiskFile,
  createDisk,
  type DiskFormat,
  findDisk,
  growDisk,
  listDisks,
  removeDisk,
  resolveDisk,
} from "../disk/store.ts";
import { mkfsExt4 } from "../image/ext4/mkfs.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import { usageError } from "./cli-error.ts";
import { disksDirectory } from "../host/disks-directory.ts";
import { formatBytes } from "./format.ts";
import { printTable } from "./table.ts";
import { parseDiskSize, quote } from "./values.ts";

interface CreateValues {
  readonly size?: number;
  readonly format: DiskFormat;
  readonly from?: string;
  readonly empty?: boolean;
}

/** Gives `mere disk` its verbs. */
export function define(command: Command): void {
  command
    .command("create")
    .argument("<name>")
    .description("make a disk with an empty ext4 file system, or of another one; tells its file")
    .option("--size <size>", "such as 10G; takes room as it is written", (text) => parseDiskSize("--size", text))
    .option("--from <source>", "a disk, a file or an image: copied, or with --format overlay what it lies over")
    .option("--format <format>", "raw, or overlay: only what is changed, over --from", parseFormat, "raw")
    .option("--empty", "no file system: all zeroes")
    .action(async (name: string, values: CreateValues) => {
      process.stdout.write(`${await create(name, values)}\n`);
    });
  command
    .command("list")
    .description("list disks: name, format, size, room taken, whether a VM uses it")
    .option("--json", "as JSON")
    .action(async ({ json }: { json?: boolean }) => list(json));
  command
    .command("grow")
    .argument("<name>")
    .requiredOption("--size <size>", "the new size, such as 20G", (text) => parseDiskSize("--size", text))
    .description("make a disk larger; the file system in it is the guest's to grow (resize2fs)")
    .action(async (name: string, { size }: { size: number }) => growDisk(findDisk(disksDirectory(), name), size));
  command
    .command("export")
    .argument("<name>")
    .argument("<file>", "a new file")
    .description("write a disk as a raw image, an overlay with what it lies over")
    .action(async (name: string, file: string) => copyDiskFile(findDisk(disksDirectory(), name), file));
  command
    .command("remove")
    .argument("<name...>")
    .description("remove disks and what is on them")
    .action(async (names: readonly string[]) => {
      for (const name of names) await removeDisk(disksDirectory(), name);
    });
}

async function create(name: string, { size, format, from, empty }: CreateValues): Promise<string> {
  const directory = disksDirectory();
  if (from === undefined && format === "overlay") throw usageError("--format overlay needs --from: what it lies over");
  if (from === undefined && size === undefined)
    throw usageError("a new disk needs --size, as in --size 10G, or --from");
  if (from !== undefined && empty === true)
    throw usageError("--empty makes a new disk; leave it out, or leave out --from");
  const disk = { name, format, ...(size !== undefined && { sizeBytes: size }) };
  if (from === undefined) return createDisk(directory, { ...disk, ...(empty !== true && { make: mkfsExt4 }) });
  const file = resolveDisk(directory, from);
  const image = existsSync(file) ? undefined : await imageOf(from);
  if (image === undefined) return createDisk(directory, { ...disk, from: file });
  const { holdImage, useImage } = await import("../image/images.ts");
  const release = await useImage(image);
  try {
    const path = await createDisk(directory, { ...disk, from: image.rootDisk });
    // What lies over an image needs it as long as it is there.
    if (format === "overlay") await holdImage(image, path);
    return path;
  } finally {
    release();
  }
}
/** An image of the store; what looks like a path is none. */
async function imageOf(text: string): Promise<StoredImage | undefined> {
  if (/^[./~]/.test(text)) return undefined;
  const { findImage } = await import("../image/images.ts");
  return (await findImage(text))?.image;
}

async function list(json: boolean | undefined): Promise<void> {
  const disks = await listDisks(disksDirectory());
  const rows = disks.map((disk) => [
    disk.name,
    disk.format,
    formatBytes(disk.sizeBytes),
    formatBytes(disk.usedBytes),
    disk.inUse ? "yes" : "no",
  ]);
  printTable(json, ["NAME", "FORMAT", "SIZE", "TAKES", "IN USE"], rows, disks);
}

function parseFormat(text: string): DiskFormat {
  if (text === "raw" || text === "overlay") return text;
  throw usageError(`--format ${quote(text)} is none; choose raw or overlay`);
}
