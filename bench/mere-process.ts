/* A Mere VM in a process of its own that prefixes each line of the serial console with the number of instructions retired so far:
 * node mere-process.ts OPTIONS, which are VmOptions as JSON. Started by bench/engines.ts. */
import { readFile } from "node:fs/promises";
import { openDisk } from "../src/disk/open.ts";
import { keptCodeDirectory } from "../src/image/cache.ts";
import { type Machine, createMachine } from "../src/vm/machine.ts";
import { benchNetwork } from "./network.ts";
import { MEMORY_MIB, type VmOptions } from "./vm-options.ts";

const options = JSON.parse(process.argv[2]!) as VmOptions;
const { kvmFeatures, cpuFeatures, passes, translator, append } = options.switches ?? {};
const disks = options.disk === undefined ? [] : [await openDisk(options.disk, { readOnly: options.writable !== true })];
const network = options.network === true ? await benchNetwork() : undefined;
const decoder = new TextDecoder();
let rest = "";
const machine: Machine = await createMachine({
  cpus: options.cpus,
  memoryBytes: MEMORY_MIB * 1024 * 1024,
  keptCode: options.keptCode === false ? undefined : keptCodeDirectory(),
  kernel: await readFile(options.kernel),
  initrd: await readFile(options.initrd),
  commandLine: append === undefined ? options.commandLine : `${options.commandLine} ${append}`,
  disks,
  devices: network === undefined ? [] : [network.device],
  ...(kvmFeatures !== undefined && { kvmFeatures }),
  ...(cpuFeatures !== undefined && { cpuFeatures }),
  ...(passes !== undefined && { passes }),
  ...(translator !== undefined && { translator }),
  serialOutput(bytes) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) process.stdout.write(`${machine.stats().retired}\t${line}\n`);
  },
});
process.once("SIGTERM", () => void machine.stop());
machine.start();
const end = await machine.wait();
if (end.detail !== undefined) console.error(end.detail);
await network?.gateway.close();
for (const open of disks) await open.close();
