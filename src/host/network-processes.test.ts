/* Named networks between real processes, which come, go and are killed. */
import assert from "node:assert/strict";
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { BROADCAST_MAC, networkOf } from "../net/address.ts";
import { NamedNetworks } from "./named-networks.ts";
import type { ProcessOrder, ProcessReport } from "./network-process.fixture.ts";
import { Station, frame, payload } from "./test-network.ts";

const LIMIT = { timeout: 90_000 };
const ENTRY = fileURLToPath(import.meta.resolve("./network-process.fixture.ts"));
const HERE = 0x02_00_00_00_00_0a;
const MAC = 0x02_00_00_00_01_00;

let state = "";
before(async () => (state = await mkdtemp(join(tmpdir(), "mere-processes-"))));
after(() => rm(state, { recursive: true, force: true }));

/** A VM in a process of its own. */
class OtherProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly mac: number;
  ipv4 = 0;
  readonly #reports: ProcessReport[] = [];
  #onReport: (() => void) | undefined;

  constructor(mac: number) {
    this.mac = mac;
    this.child = fork(ENTRY, [state]);
    this.child.on("message", (report: ProcessReport) => {
      this.#reports.push(report);
      this.#onReport?.();
    });
  }
  order(order: ProcessOrder): void {
    this.child.send(order);
  }
  async next(): Promise<ProcessReport> {
    while (this.#reports.length === 0) await new Promise<void>((resolve) => (this.#onReport = resolve));
    return this.#reports.shift()!;
  }
  async join(network: string, deny: readonly string[] = []): Promise<ProcessReport> {
    this.order({ order: "join", network, mac: this.mac, hostname: `p${this.mac % 256}`, deny });
    const report = await this.next();
    if (report.report === "joined") this.ipv4 = report.ipv4;
    return report;
  }
  send(to: number, text: string): void {
    const bytes = frame(this.mac, this.ipv4, to, Buffer.from(text));
    this.order({ order: "send", frame: Buffer.from(bytes).toString("base64") });
  }
  async text(): Promise<string> {
    const report = await this.next();
    assert.equal(report.report, "frame");
    return payload({ bytes: Buffer.from((report as { frame: string }).frame, "base64") });
  }
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await gone;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

test(
  "VMs of several processes see each other; one that is killed is gone, and its address is given again",
  LIMIT,
  async () => {
    await using here = await Station.join(new NamedNetworks(state), "lan", { mac: HERE });
    const { base } = networkOf("lan");
    await using a = new OtherProcess(MAC);
    await using b = new OtherProcess(MAC + 1);
    assert.deepEqual(await a.join("lan"), { report: "joined", ipv4: base + 4 });
    assert.deepEqual(await b.join("lan"), { report: "joined", ipv4: base + 5 });
    const large = "large ".repeat(10_000);
    a.send(BROADCAST_MAC, large);
    assert.equal(payload(await here.next()), large);
    assert.equal(await b.text(), large);
    b.send(a.mac, "back");
    assert.equal(await a.text(), "back");
    here.send(b.mac, "to b");
    assert.equal(await b.text(), "to b");
    await a.kill();
    const files = await readdir(join(state, "networks", "lan"));
    assert.equal(files.filter((name) => name.endsWith(".sock")).length, 3, "a killed process leaves its socket");
    await using c = new OtherProcess(MAC + 2);
    assert.deepEqual(await c.join("lan"), { report: "joined", ipv4: base + 4 });
    const later = await readdir(join(state, "networks", "lan"));
    assert.equal(later.filter((name) => name.endsWith(".sock")).length, 3, "the next removes it");
    c.send(BROADCAST_MAC, "after");
    assert.equal(payload(await here.next()), "after");
    assert.equal(await b.text(), "after");
    b.order({ order: "leave" });
    assert.deepEqual(await b.next(), { report: "left" });
  },
);

test("processes that start at once miss none, and agree on rules", LIMIT, async () => {
  await using stack = new AsyncDisposableStack();
  const all = Array.from({ length: 4 }, (_, n) => stack.use(new OtherProcess(MAC + 16 + n)));
  const joined = await Promise.all(all.map((each, n) => each.join("race", n === 3 ? ["all"] : [])));
  const members = all.filter((_, n) => joined[n]!.report === "joined");
  // The odd one is first, and alone, or refused.
  assert.ok(members.length === 3 || (members.length === 1 && members[0] === all[3]));
  for (const report of joined)
    if (report.report === "refused") assert.match(report.message, /The network race has other rules/);
  assert.equal(new Set(members.map(({ ipv4 }) => ipv4)).size, members.length);
  for (const from of members) {
    from.send(BROADCAST_MAC, `from ${from.mac}`);
    for (const to of members) if (to !== from) assert.equal(await to.text(), `from ${from.mac}`);
  }
});

test("when all were killed, the next begins anew", LIMIT, async () => {
  await using a = new OtherProcess(MAC + 32);
  assert.equal((await a.join("dead", ["all"])).report, "joined");
  a.order({ order: "crash" });
  await once(a.child, "exit");
  const here = await Station.join(new NamedNetworks(state), "dead", { mac: HERE });
  assert.equal(here.ipv4, networkOf("dead").base + 3);
  const files = await readdir(join(state, "networks", "dead"));
  assert.equal(files.filter((name) => name.endsWith(".sock")).length, 1);
  await here[Symbol.asyncDispose]();
  await assert.rejects(readdir(join(state, "networks", "dead")), { code: "ENOENT" });
});

test("a stopped process holds nobody up, and is there again when it goes on", LIMIT, async () => {
  await using here = await Station.join(new NamedNetworks(state), "stopped", { mac: HERE });
  await using a = new OtherProcess(MAC + 48);
  await using b = new OtherProcess(MAC + 49);
  await a.join("stopped");
  await b.join("stopped");
  // Then all know of each other.
  for (const from of [a, b]) {
    from.send(BROADCAST_MAC, "here");
    await here.next();
    assert.equal(await (from === a ? b : a).text(), "here");
  }
  a.child.kill("SIGSTOP");
  try {
    const bulk = "x".repeat(60_000);
    for (let n = 0; n < 200; n++) here.send(a.mac, bulk);
    here.send(b.mac, "past it");
    assert.equal(await b.text(), "past it");
  } finally {
    a.child.kill("SIGCONT");
  }
  let received = 0;
  while ((await a.text()).length === 60_000) {
    received++;
    here.send(a.mac, "end");
  }
  assert.ok(received > 0 && received < 200, `${received} of 200`);
});

test("a process that has nothing else to do ends, though it is on a network", LIMIT, async () => {
  await using here = await Station.join(new NamedNetworks(state), "idle", { mac: HERE });
  const script = `import { NamedNetworks } from ${JSON.stringify(import.meta.resolve("./named-networks.ts"))};
    import { resolveVmOptions } from ${JSON.stringify(import.meta.resolve("./vm-config.ts"))};
    const resources = new AsyncDisposableStack();
    const config = resolveVmOptions({ network: { name: "idle" } });
    const joined = await new NamedNetworks(process.argv[1]).join("idle", config, ${MAC}, "idle", resources);
    joined.switch.connect({ receive: () => true }, { mac: ${MAC}, ipv4: joined.guest });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, state], { stdio: "inherit" });
  assert.deepEqual(await once(child, "exit"), [0, null]);
  here.send(BROADCAST_MAC, "nobody is there");
});
