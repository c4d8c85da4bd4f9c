/* A Mere VM in a process of its own that prefixes each line of the serial console with the number of instructions retired so far:
 * node mere-process.ts KERNEL INITRD COMMANDLINE DISK. Started by bench/engines.ts. */
import { readFile } from "node:fs/promises";
import { openRawDisk } from "../src/disk/raw.ts";
import { type Machine, createMachine } from "../src/vm/machine.ts";
import { MEMORY_MIB } from "./engines.ts";

const [kernel, initrd, commandLine, disk] = process.argv.slice(2) as [string, string, string, string];
const disks = disk === "" ? [] : [await openRawDisk(disk, { readOnly: true })];
const decoder = new TextDecoder();
let rest = "";
const machine: Machine = await createMachine({
  cpus: 1,
  memoryBytes: MEMORY_MIB * 1024 * 1024,
  kernel: await readFile(kernel),
  initrd: await readFile(initrd),
  commandLine,
  disks,
  serialOutput(bytes) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) process.stdout.write(`${machine.stats().retired}\t${line}\n`);
  },
});
machine.start();
const end = await machine.wait();
if (end.detail !== undefined) console.error(end.detail);
for (const open of disks) await open.close();
