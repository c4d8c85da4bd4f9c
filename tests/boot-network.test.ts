/* Two Linux guests on one named network, each in a process of its own. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { boxPlaces } from "./support/busybox-image.ts";
import { runMere, summary } from "./support/mere.ts";
import { type NamedGuest, bootNamedGuest, forkNamedGuest } from "./support/named-guest.ts";

test("guests of two processes ping each other and carry 20 MB over TCP unchanged", { timeout: 600_000 }, async () => {
  await using stack = new AsyncDisposableStack();
  const state = await mkdtemp(join(tmpdir(), "mere-two-guests-"));
  stack.defer(() => rm(state, { recursive: true, force: true }));
  const options = { state, network: "two" };
  const [here, there] = await Promise.all([
    bootNamedGuest({ ...options, mac: 0x02_00_00_00_00_01, hostname: "here" }).then((guest) => stack.use(guest)),
    forkNamedGuest({ ...options, mac: 0x02_00_00_00_00_02, hostname: "there" }).then((guest) => stack.use(guest)),
  ]);
  assert.notEqual(here.address, there.address);
  assert.match(await here.run(`ping -c 3 ${there.address}`), /3 packets received/);
  assert.match(await there.run(`ping -c 1 -s 8000 ${here.address}`), /1 packets received/);
  assert.match(await here.run("nslookup there.mere.internal"), new RegExp(there.address.replaceAll(".", "\\.")));
  for (const guest of [here, there]) await guest.run("mkfifo /tmp/open");
  await here.run("dd if=/dev/urandom of=/tmp/data bs=1M count=20");
  const sum = (await here.run("md5sum < /tmp/data")).trim();
  await transfer(here, there, "/tmp/data");
  assert.equal((await there.run("md5sum < /tmp/received")).trim(), sum);
  await there.run("head -c 4000000 /tmp/received > /tmp/back");
  await transfer(there, here, "/tmp/back");
  assert.equal(await here.run("md5sum < /tmp/received"), await here.run("head -c 4000000 /tmp/data | md5sum"));
});

async function transfer(from: NamedGuest, to: NamedGuest, file: string): Promise<void> {
  // Its standard input stays open, or it ends its side, whereupon the sender goes.
  await to.run("(nc -l -p 5000 0<>/tmp/open > /tmp/received; echo > /tmp/done) &");
  await from.run(`until nc ${to.address} 5000 < ${file}; do :; done`);
  await to.run("until [ -e /tmp/done ]; do sleep 0.1; done; rm /tmp/done");
}

test("VMs of `mere run -d --network` find each other by name, and leave nothing", { timeout: 600_000 }, async () => {
  const places = await boxPlaces();
  const mere = async (...words: string[]): Promise<string> => {
    const ended = await runMere(words, { env: places.env });
    assert.equal(ended.status, 0, `${words.join(" ")}\n${summary(ended)}`);
    return ended.stdout.toString();
  };
  try {
    const start = (name: string): Promise<string> =>
      mere("run", "-d", "--network", "lan", "--name", name, "box", "--", "sleep", "3600");
    await Promise.all([start("one"), start("two")]);
    for (const [from, to] of [
      ["one", "two"],
      ["two", "one"],
    ] as const) {
      const answer = await mere("exec", from, "nslookup", `${to}.mere.internal`);
      const address = /Name:\s+\S+\s+Address[ 0-9]*:\s+([0-9.]+)/.exec(answer)?.[1];
      assert.ok(address !== undefined, answer);
      assert.match(await mere("exec", from, "ping", "-c", "1", address), /1 packets received/);
    }
    const networks = join(places.env["XDG_STATE_HOME"], "mere", "networks");
    assert.deepEqual(await readdir(networks), ["lan"]);
    await mere("rm", "--force", "one");
    await mere("rm", "--force", "two");
    // The process goes on for a moment when its VM has ended.
    while ((await readdir(networks)).length > 0) await setImmediate();
  } finally {
    for (const name of ["one", "two"]) await runMere(["rm", "--force", name], { env: places.env });
    await rm(places.directory, { recursive: true, force: true });
  }
});
