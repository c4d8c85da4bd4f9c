/* Memory that goes back to the host from a VM with Debian's kernel, while both of its CPUs are busy: free pages that it reports, the balloon, statistics. One boot. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { BalloonDevice } from "../src/device/virtio/balloon.ts";
import { DeviceGuest } from "./support/device-guest.ts";

const MIB = 2 ** 20;
/** Other tests may run meanwhile. */
const PATIENT = { timeoutMs: 120_000 };
/** Two jobs whose memory is compared all the time, and a main program that does what it is told. */
const SCRIPT = `
for n in 1 2; do
  head -c 1500000 /dev/urandom >/tmp/data$n
  sum=$(sha256sum </tmp/data$n)
  while [ -e /tmp/data$n ]; do
    cp /tmp/data$n /tmp/copy$n 2>/dev/null || break
    [ "$(sha256sum </tmp/copy$n)" = "$sum" ] && echo >>/tmp/good || echo "memory of job $n has changed"
    rm /tmp/copy$n; sleep 0.1
  done &
done
echo "== ready"
while read -r line; do
  case $line in
  fill) dd if=/dev/zero of=/tmp/big bs=1M count=70 2>/dev/null ;;
  remove) rm /tmp/big ;;
  free) awk '/MemFree/ {print "free", $2 * 1024}' /proc/meminfo ;;
  end) rm /tmp/data*; wait; echo "good $(wc -l </tmp/good)"; dmesg | grep -E 'WARNING|BUG:|Oops|segfault'; echo "== end"; break ;;
  esac
  echo "== did $line"
done`;

describe("memory of a VM that goes back", { timeout: 280_000 }, () => {
  const balloon = new BalloonDevice();
  let guest: DeviceGuest;
  const frameBytes = (): number => guest.machine.stats().framesInUse * 4096;

  before(async () => {
    guest = await DeviceGuest.start({ modules: ["virtio_balloon"], devices: [balloon], script: SCRIPT, cpus: 2 });
    await guest.until("== ready\n");
  });
  after(() => guest?.stop());

  /** Tells the guest to do something. @returns what it wrote meanwhile */
  async function tell(what: string): Promise<string> {
    const start = guest.text.length;
    guest.type(what);
    await guest.until(`== did ${what}\n`, start);
    return guest.text.slice(start);
  }
  const freeBytes = async (): Promise<number> => Number(/free (\d+)/.exec(await tell("free"))?.[1]);
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await setTimeout(20);
  }

  test("pages that the guest frees are the host's again by themselves", async () => {
    const before = frameBytes();
    await tell("fill");
    const filled = frameBytes();
    assert.ok(filled - before > 60 * MIB, `${before} ${filled}`);
    await tell("remove");
    await until(() => frameBytes() < filled - 50 * MIB);
    assert.ok(balloon.reportedBytes > 40 * MIB);
  });

  test("the guest does without what the balloon asks for, and gets it back", async () => {
    const before = await freeBytes();
    await tell("fill");
    const filled = frameBytes();
    await tell("remove");
    // what was let go comes back by and by
    let free = 0;
    do free = await freeBytes();
    while (free < before - 20 * MIB);
    balloon.setTargetBytes(100 * MIB);
    await until(() => balloon.actualBytes === 100 * MIB);
    const left = await freeBytes();
    assert.ok(free - left > 50 * MIB, `${free} ${left}`);
    await until(() => frameBytes() < filled - 50 * MIB);
    balloon.setTargetBytes(0);
    await until(() => balloon.actualBytes === 0);
    do free = await freeBytes();
    while (free - left <= 50 * MIB);
  });

  test("statistics are the guest's own", async () => {
    const [first, same] = await Promise.all([balloon.statistics(PATIENT), balloon.statistics(PATIENT)]);
    assert.equal(first, same);
    const { totalBytes = 0, availableBytes = 0, cachesBytes = 0, minorFaults = 0 } = first;
    assert.ok(totalBytes > 400 * MIB && totalBytes < 512 * MIB, `${totalBytes}`);
    // what the test before has let go comes back by and by
    let told = 0;
    do told = (await balloon.statistics(PATIENT)).freeBytes ?? 0;
    while (Math.abs(told - (await freeBytes())) >= 40 * MIB);
    assert.ok(availableBytes > 100 * MIB && cachesBytes > 2 * MIB && minorFaults > 1000, JSON.stringify(first));
    await tell("fill");
    const filled = await balloon.statistics(PATIENT);
    assert.ok(told - (filled.freeBytes ?? told) > 50 * MIB, JSON.stringify(filled));
    await tell("remove");
  });

  test("memory that was in use meanwhile has not changed", async () => {
    guest.type("end");
    await guest.until("== end\n");
    assert.doesNotMatch(guest.text, /has changed|WARNING|BUG:|Oops|segfault/);
    assert.ok(Number(/good (\d+)/.exec(guest.text)?.[1]) > 5, guest.text.slice(-500));
  });
});
