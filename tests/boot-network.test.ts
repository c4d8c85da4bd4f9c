/* Two Linux guests on one named network, each in a process of its own. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
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
