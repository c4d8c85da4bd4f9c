/* What goes back to the host when a guest frees memory: the process's resident memory before, after the guest filled a file system in its memory, and after it removed the files;
 * and how long that took. `node bench/returned-memory.ts [MIB]` */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { BalloonDevice } from "../src/device/virtio/balloon.ts";
import { DeviceGuest } from "../tests/support/device-guest.ts";

const mib = Number(process.argv[2] ?? 300);
const SCRIPT = `echo "== ready"
while read -r line; do
  case $line in
  fill) mount -t tmpfs -o size=100% tmp /mnt && dd if=/dev/zero of=/mnt/big bs=1M count=${mib} 2>/dev/null ;;
  remove) rm /mnt/big ;;
  esac
  echo "== did $line"
done`;
/** @source proc(5), /proc/pid/status */
const residentMib = (): number =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))![1]) / 1024);

const balloon = new BalloonDevice();
const guest = await DeviceGuest.start({
  modules: ["virtio_balloon"],
  devices: [balloon],
  script: `mkdir -p /mnt; ${SCRIPT}`,
  memoryBytes: (mib + 300) << 20,
});
const tell = async (what: string): Promise<void> => {
  guest.type(what);
  await guest.until(`== did ${what}\n`);
};
const report = (when: string): void => {
  const frames = Math.round((guest.machine.stats().framesInUse * 4096) / 2 ** 20);
  console.log(
    `${when.padEnd(16)} resident ${residentMib()} MiB, frames ${frames} MiB, reported ${balloon.reportedBytes >> 20} MiB`,
  );
};
await guest.until("== ready\n");
report("booted");
await tell("fill");
report("filled");
const before = balloon.reportedBytes;
const start = performance.now();
const removed = tell("remove");
let first = 0;
while (balloon.reportedBytes < before + mib * 0.9 * 2 ** 20) {
  if (first === 0 && balloon.reportedBytes > before) first = performance.now();
  await setTimeout(5);
}
await removed;
report("reported");
const [delay, duration] = [first - start, performance.now() - first];
console.log(
  `the first report came ${Math.round(delay)} ms after the removal began; all had gone back ${Math.round(duration)} ms later`,
);
await guest.stop();
