/* What processes on a network share on the disk: turns, rules, addresses, each held by a lock. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NetworkDirectory, inTurn } from "./network-directory.ts";

const LIMIT = { timeout: 30_000 };
const ADDRESS = 0x0a800003;
const FILE = "10.128.0.3";

let root = "";
before(async () => (root = await mkdtemp(join(tmpdir(), "mere-network-"))));
after(() => rm(root, { recursive: true, force: true }));
const enter = (name: string, rules = "[]"): Promise<NetworkDirectory> => {
  const path = join(root, name);
  return inTurn(path, async () => NetworkDirectory.enter(path, name, rules));
};

test("only one is in its turn, also with those that remove the directory in between", LIMIT, async () => {
  let inside = 0;
  let most = 0;
  let turns = 0;
  const once = async (): Promise<void> => {
    const path = join(root, "turns");
    const directory = await inTurn(path, async () => {
      most = Math.max(most, ++inside);
      await new Promise<void>((resolve) => setImmediate(resolve));
      turns++;
      inside--;
      return NetworkDirectory.enter(path, "turns", "[]");
    });
    await directory.leave();
  };
  await Promise.all(Array.from({ length: 10 }, once));
  assert.deepEqual([most, turns, existsSync(join(root, "turns"))], [1, 10, false]);
});

test("a turn that does not end is told after a while; what fails in one ends it", LIMIT, async () => {
  const path = join(root, "stuck");
  const { promise, resolve } = Promise.withResolvers<void>();
  const stuck = inTurn(path, () => promise);
  await assert.rejects(
    inTurn(path, async () => 1, 50),
    { code: "unreachable", message: /does not go on; end it/ },
  );
  resolve();
  await stuck;
  await assert.rejects(
    inTurn(path, () => Promise.reject(new Error("mine"))),
    /mine/,
  );
  assert.equal(await inTurn(path, async () => 2, 50), 2);
});

test("a place that cannot be used is told", LIMIT, async () => {
  writeFileSync(join(root, "file"), "");
  await assert.rejects(
    inTurn(join(root, "file", "net"), async () => 1),
    { code: "state", message: /ENOTDIR/ },
  );
  await assert.rejects(
    inTurn(join(root, "file"), async () => 1),
    { code: "state" },
  );
});

test("an address is given once, and again after its release", LIMIT, async () => {
  const [one, two] = [await enter("claims"), await enter("claims")];
  const claim = one.claim(ADDRESS)!;
  assert.equal(readFileSync(join(one.path, FILE), "utf8"), `${process.pid}\n`);
  assert.equal(two.claim(ADDRESS), undefined);
  assert.equal(one.claim(ADDRESS), undefined);
  const other = two.claim(ADDRESS + 1)!;
  claim.release();
  assert.equal(existsSync(join(one.path, FILE)), false);
  const again = two.claim(ADDRESS)!;
  assert.equal(one.claim(ADDRESS), undefined);
  again.release();
  other.release();
  await one.leave();
  assert.deepEqual(await readdir(two.path), ["rules"]);
  await two.leave();
  assert.equal(existsSync(two.path), false);
});

test("files of the dead are taken over, by one", LIMIT, async () => {
  const path = join(root, "stale");
  mkdirSync(path);
  writeFileSync(join(path, "rules"), "[of old]");
  writeFileSync(join(path, FILE), "4194304\n");
  const everyone = await Promise.all(Array.from({ length: 8 }, () => enter("stale", "[new]")));
  const claims = everyone.map((each) => each.claim(ADDRESS)).filter((claim) => claim !== undefined);
  assert.equal(claims.length, 1);
  assert.equal(readFileSync(join(path, "rules"), "utf8"), "[new]");
  await assert.rejects(enter("stale", "[of old]"), { code: "bad-option" });
  claims[0]!.release();
  await Promise.all(everyone.map((each) => each.leave()));
  assert.equal(existsSync(path), false);
});

test("what a killed process holds is free at once, not before", LIMIT, async () => {
  const here = await enter("killed");
  const script = `import { NetworkDirectory, inTurn } from ${JSON.stringify(import.meta.resolve("./network-directory.ts"))};
    const path = ${JSON.stringify(here.path)};
    const directory = await inTurn(path, async () => NetworkDirectory.enter(path, "killed", "[]"));
    console.log(directory.claim(${ADDRESS}) !== undefined);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  assert.equal(said.toString(), "true\n");
  assert.equal(here.claim(ADDRESS), undefined);
  child.kill("SIGKILL");
  await once(child, "exit");
  here.claim(ADDRESS)!.release();
  await here.leave();
  assert.equal(existsSync(here.path), false, "nobody else holds the rules");
});
