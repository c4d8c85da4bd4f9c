/* Pulls from a registry that behaves well, and from one that does not: what comes of it, and what is left. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { zstdCompressSync } from "node:zlib";
import { ImageError, type ImageErrorCode } from "../image-error.ts";
import { RootImageError, type RootImageErrorCode } from "../root/root-image-error.ts";
import { listImages } from "../store/records.ts";
import type { StoredImage } from "../store/stored-image.ts";
import { type RegistryOptions, pullImage } from "./pull.ts";
import { type RegistryReference, parseReference } from "./reference.ts";
import {
  type ImageParts,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  TestRegistry,
  descriptor,
  digest,
  json,
  makeParts,
  readFromDisk,
  tarOf,
} from "./test-registry.ts";

const MIB = 1 << 20;
const LOWER = tarOf({ "./etc/a": "lower", "./etc/b": "lower" });
/** Larger than what sockets and pipes hold, and not compressible to nothing. */
const TEXT = Array.from({ length: 100_000 }, (_, i) => ((i * 2654435761) >>> 13).toString(36)).join(" ");
const UPPER = tarOf({ "./etc/b": TEXT });
const PARTS = makeParts([LOWER, UPPER], { config: { Cmd: ["/bin/a"], Env: ["A=1"], User: "www" } });
/** Tests are in no hurry to give up, but in a hurry to try again. */
const PATIENCE = { stallMs: 5000, attempts: 3, firstPauseMs: 1, longestPauseMs: 2000 };

let registry: TestRegistry;
let home = "";
beforeEach(async () => {
  registry = await TestRegistry.start();
  home = mkdtempSync(join(tmpdir(), "mere-pull-"));
  process.env["DOCKER_CONFIG"] = join(home, "docker");
  registry.put(PARTS, "1");
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  rmSync(home, { recursive: true });
});

const places = (): { dataDir: string; cacheDir: string } => ({
  dataDir: join(home, "data"),
  cacheDir: join(home, "cache"),
});

function pull(name = "a:1", options: RegistryOptions = {}): Promise<StoredImage> {
  const reference = parseReference(`${registry.host}/${name}`) as RegistryReference;
  const settings = { registry: "", registries: {} };
  return pullImage(reference, {
    ...places(),
    patience: PATIENCE,
    settings,
    ...options,
  });
}

async function assertContent({ rootDisk }: StoredImage): Promise<void> {
  assert.equal(await readFromDisk(rootDisk, "/etc/a"), "lower");
  assert.equal(await readFromDisk(rootDisk, "/etc/b"), TEXT);
}

/** Nothing half-made: no image, no work, and of downloads at most what can be gone on with. */
async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(await listImages(places()), []);
  const entries = (part: string): string[] => {
    try {
      return readdirSync(join(home, part));
    } catch {
      return [];
    }
  };
  assert.deepEqual(
    entries("data/images").filter((name) => name.startsWith(".")),
    [],
  );
  assert.deepEqual(entries("data/images/by-id"), []);
  assert.deepEqual(entries("data/images/names"), []);
}

async function failsWith(
  code: ImageErrorCode | RootImageErrorCode,
  sentence: RegExp,
  work: Promise<unknown> = pull(),
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ImageError || error instanceof RootImageError, String(error));
    assert.match(error.message, sentence);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, /^[^\n]+[;:,] [^\n]+\.$/, "one sentence that says what to do");
    return true;
  });
  await assertNothingLeft();
}

const isLayer = (path: string): boolean => path.includes("/blobs/") && !path.endsWith(digest(PARTS.config));
const layersAsked = (): string[] => registry.requests.filter((line) => isLayer(line.split(" ")[1]!));

describe("a pull", () => {
  test("makes an image of checked layers, with its configuration", async () => {
    const seen: string[] = [];
    const image = await pull("a:1", { onProgress: (phase, done, total) => seen.push(`${phase} ${done}/${total}`) });
    assert.equal(image.id, digest(PARTS.config));
    assert.deepEqual(image.names, [`${registry.host}/a:1`]);
    assert.deepEqual(image.config.cmd, ["/bin/a"]);
    assert.deepEqual([image.config.env, image.config.user, image.config.workingDir], [["A=1"], "www", "/"]);
    await assertContent(image);
    const total = PARTS.layers.reduce((sum, { length }) => sum + length, 0);
    assert.equal(seen[0], "resolve 0/0");
    assert.ok(seen.includes(`download ${total}/${total}`));
    assert.deepEqual(readdirSync(join(home, "cache/downloads")), []);
    assert.deepEqual(await listImages(places()), [image]);
  });

  test("of an image that the store has downloads no layer, whatever its compression and name", async () => {
    const first = await pull();
    registry.put(
      makeParts([LOWER, UPPER], {
        config: { Cmd: ["/bin/a"], Env: ["A=1"], User: "www" },
        compress: zstdCompressSync,
        layerType: `${OCI_LAYER}+zstd`,
      }),
      "2",
    );
    registry.requests.length = 0;
    const second = await pull("a:2");
    assert.equal(second.id, first.id);
    assert.deepEqual(second.names, [`${registry.host}/a:1`, `${registry.host}/a:2`]);
    assert.deepEqual(layersAsked(), []);
  });

  for (const [kind, compress, layerType] of [
    ["zstd", zstdCompressSync, `${OCI_LAYER}+zstd`],
    ["plain", (tar: Buffer) => tar, OCI_LAYER],
    ["docker's", undefined, "application/vnd.docker.image.rootfs.diff.tar.gzip"],
    ["wrongly named", zstdCompressSync, `${OCI_LAYER}+gzip`],
  ] as const)
    test(`takes ${kind} layers`, async () => {
      registry.put(makeParts([LOWER, UPPER], { layerType, ...(compress !== undefined && { compress }) }), "1");
      await assertContent(await pull());
    });

  test("takes a layer that lacks what comes after its last file, if it has the right digest", async () => {
    const tar = tarOf({ "./etc/b": TEXT, "./etc/a": "lower" });
    registry.put(makeParts([tar.subarray(0, -1024 - 512 + "lower".length)]), "1");
    await assertContent(await pull());
  });

  test("follows an index to linux/amd64, by tag and by digest", async () => {
    const platform = (os: string, architecture: string, variant?: string): object => ({ os, architecture, variant });
    const other = makeParts([LOWER], { top: { architecture: "arm64" } });
    registry.put(other, "other");
    const index = json({
      schemaVersion: 2,
      manifests: [
        { ...descriptor(other.manifest, OCI_MANIFEST), platform: platform("linux", "arm64", "v8") },
        { ...descriptor(json({ later: true }), OCI_MANIFEST), platform: platform("linux", "amd64", "v3") },
        { ...descriptor(PARTS.manifest, OCI_MANIFEST), platform: platform("linux", "amd64") },
        { ...descriptor(json({ attestation: 1 }), OCI_MANIFEST), platform: platform("unknown", "unknown") },
      ],
    });
    registry.putManifest(index, OCI_INDEX, "multi");
    assert.equal((await pull("a:multi")).id, digest(PARTS.config));
    const pinned = await pull(`a@${digest(index)}`);
    assert.deepEqual(pinned.names, [`${registry.host}/a:multi`, `${registry.host}/a@${digest(index)}`].sort());
  });

  test("goes on where a connection broke, with Range", async () => {
    let breaks = 2;
    registry.behave = cutLayers((bytes) => (breaks-- > 0 ? Math.floor(bytes.length / 2) : undefined));
    await pull();
    assert.ok(
      layersAsked().some((line) => /\[bytes=\d+-\]$/.test(line)),
      registry.requests.join("\n"),
    );
  });

  test("begins again where a registry heeds no Range", async () => {
    let breaks = 1;
    registry.behave = (request, response, path) => {
      delete request.headers.range;
      return cutLayers((bytes) => (breaks-- > 0 ? bytes.length - 10 : undefined))(request, response, path);
    };
    await pull();
  });

  for (const isDamaged of [false, true])
    test(`goes on with what a killed process had${isDamaged ? ", and does not believe it" : ""}`, async () => {
      const [, large] = PARTS.layers;
      const half = large!.length >> 1;
      registry.behave = (_request, response, path) => {
        if (!path.endsWith(digest(large!))) return false;
        response.writeHead(200).write(large!.subarray(0, half));
        return true;
      };
      const part = join(home, "cache/downloads", digest(PARTS.config).slice(7), `${digest(large!).slice(7)}.part`);
      const script = `import { pullImage } from "./pull.ts"; import { parseReference } from "./reference.ts";
        await pullImage(parseReference("${registry.host}/a:1"), ${JSON.stringify({ ...places(), settings: { registry: "", registries: {} } })});`;
      const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
        cwd: import.meta.dirname,
        stdio: ["ignore", "inherit", "inherit"],
      });
      const ended = once(child, "close");
      while (statSync(part, { throwIfNoEntry: false })?.size !== half && child.exitCode === null) await setTimeout(5);
      child.kill("SIGKILL");
      await ended;
      await assertNothingLeft();
      const had = readFileSync(part);
      assert.equal(had.length, half);
      if (isDamaged) writeFileSync(part, had.fill(0));
      registry.behave = () => false;
      registry.requests.length = 0;
      await assertContent(await pull());
      const asked = layersAsked().filter((line) => line.includes(digest(large!)));
      const path = `GET /v2/a/blobs/${digest(large!)}`;
      assert.deepEqual(asked, [`${path} [bytes=${half}-]`, ...(isDamaged ? [path] : [])]);
      assert.deepEqual(readdirSync(join(home, "cache/downloads")), []);
    });

  test("waits as long as 429 asks, and gives up when that is too long", async () => {
    let refusals = 2;
    registry.behave = (_request, response) =>
      refusals-- > 0 && (response.writeHead(429, { "retry-after": "0" }).end(), true);
    await pull();
  });

  test("of two at a time downloads once, and both have the image", async () => {
    const phases = new Set<string>();
    const images = await Promise.all([pull(), pull(), pull("a:1", { onProgress: (phase) => phases.add(phase) })]);
    assert.deepEqual(new Set(images.map(({ id }) => id)).size, 1);
    assert.equal(layersAsked().length, PARTS.layers.length);
    assert.ok(!(phases.has("wait") && phases.has("download")), [...phases].join());
    assert.deepEqual(readdirSync(join(home, "cache/downloads")), []);
  });

  test("asks the mirror first, then the host itself", async () => {
    await using mirror = await TestRegistry.start();
    const settings = { registry: "", registries: { [registry.host]: { mirror: mirror.host } } };
    assert.equal((await pull("a:1", { settings })).id, digest(PARTS.config));
    assert.deepEqual(mirror.requests, ["GET /v2/a/manifests/1"]);
    mirror.put(makeParts([LOWER]), "2");
    registry.requests.length = 0;
    await pull("a:2", { settings });
    assert.deepEqual(registry.requests, []);
  });
});

/** Layers end, with the connection, after so many of the bytes asked for; undefined: not. */
function cutLayers(at: (bytes: Buffer) => number | undefined): TestRegistry["behave"] {
  return (request, response, path) => {
    const bytes = registry.content.blobs.get(path.split("/").at(-1)!);
    const end = bytes !== undefined && isLayer(path) ? at(bytes) : undefined;
    if (end === undefined) return false;
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, {
      "content-length": bytes!.length - from,
      ...(from > 0 && { "content-range": `bytes ${from}-${bytes!.length - 1}/${bytes!.length}` }),
    });
    response.write(bytes!.subarray(from, Math.max(from, end)), () => response.destroy());
    return true;
  };
}

function answering(status: number, headers: Record<string, string> = {}, body = "{}"): TestRegistry["behave"] {
  return (_request, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };
}

describe("a registry that", () => {
  test("does not have it", async () => {
    await failsWith("unknown-image", /does not have a:2; check the name and the tag/, pull("a:2"));
    await failsWith("unknown-image", /does not have/, pull(`a@sha256:${"0".repeat(64)}`));
  });
  test("answers 401 without a way to authenticate, and 403", async () => {
    registry.behave = answering(401);
    await failsWith("unauthorized", /docker login/);
    registry.behave = answering(403);
    await failsWith("unauthorized", /docker login/);
  });
  test("answers 500 again and again", async () => {
    registry.behave = answering(500);
    await failsWith("registry", /answered 500/);
    assert.equal(registry.requests.length, PATIENCE.attempts);
  });
  test("answers 429 again and again, or asks for an hour", async () => {
    registry.behave = answering(429);
    await failsWith("rate-limited", /too many requests/);
    assert.equal(registry.requests.length, PATIENCE.attempts);
    registry.behave = answering(429, { "retry-after": "3600" });
    await failsWith("rate-limited", /a pause of 3600 s/);
    registry.behave = answering(429, { "retry-after": new Date(Date.now() + 3_600_000).toUTCString() });
    await failsWith("rate-limited", /a pause of 3(600|59\d) s/);
  });
  test("fails once, with a layer, goes on", async () => {
    const failed = new Set<string>();
    registry.behave = (_request, response, path) =>
      !failed.has(path) && (failed.add(path), response.writeHead(503).end(), true);
    await pull();
  });
  test("stalls before the answer, or within", async () => {
    const patience = { ...PATIENCE, stallMs: 50, attempts: 2 };
    registry.behave = () => true;
    await failsWith("stalled", /sent nothing for 0\.1 s/, pull("a:1", { patience }));
    registry.behave = (_request, response, path) => {
      if (!isLayer(path)) return false;
      response.writeHead(200, { "content-length": "1000" }).write("x");
      return true;
    };
    await failsWith("stalled", /sent nothing for/, pull("a:1", { patience }));
  });
  test("begins again and again, and ends here and there", async () => {
    let attempt = 0;
    registry.behave = (request, response, path) => {
      delete request.headers.range;
      return cutLayers((bytes) => (attempt++ % 2 === 0 ? bytes.length >> 2 : bytes.length >> 1))(
        request,
        response,
        path,
      );
    };
    await failsWith("network", /(broke|ended)/);
    assert.ok(registry.requests.length < 20, String(registry.requests.length));
  });
  test("always ends too early", async () => {
    registry.behave = cutLayers(() => 10);
    await failsWith("network", /(broke|ended)/);
    assert.ok(registry.requests.length < 20);
  });
  test("sends other bytes than the digest's", async () => {
    for (const victim of [PARTS.config, ...PARTS.layers]) {
      const wrong = Buffer.from(victim);
      wrong[wrong.length - 1]! ^= 1;
      registry.content.blobs.set(digest(victim), wrong);
      await failsWith("digest-mismatch", /does not have the digest/);
      registry.content.blobs.set(digest(victim), victim);
    }
    registry.content.manifests.set(digest(PARTS.manifest), { bytes: json({}), mediaType: OCI_MANIFEST });
    await failsWith("digest-mismatch", /does not have the digest/, pull(`a@${digest(PARTS.manifest)}`));
  });
  test("sends more bytes than told, or without an end", async () => {
    registry.content.blobs.set(digest(PARTS.layers[0]!), Buffer.alloc(2 * MIB));
    await failsWith("digest-mismatch", /sent more than the \d+ bytes/);
    const endless: TestRegistry["behave"] = (_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(MIB)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
      return true;
    };
    registry.behave = (request, response, path) => isLayer(path) && endless(request, response, path);
    await failsWith("digest-mismatch", /sent more than the \d+ bytes/);
    registry.behave = endless;
    await failsWith("registry", /more than 4194304 bytes/);
  });
  test("answers a Range with another", async () => {
    let first = true;
    registry.behave = (request, response, path) => {
      if (request.headers.range === undefined)
        return cutLayers((bytes) => (first ? ((first = false), bytes.length - 5) : undefined))(request, response, path);
      response.writeHead(206, { "content-range": "bytes 0-4/5" }).end("wrong");
      return true;
    };
    await pull();
  });
  test("redirects in circles, or to where it must not", async () => {
    registry.behave = (request, response) => (response.writeHead(307, { location: request.url! }).end(), true);
    await failsWith("registry", /in circles/);
    for (const location of ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user@127.0.0.1/", "\u0001", ""]) {
      registry.behave = (_request, response) => (
        response.writeHead(302, { location: encodeURI(location) }).end(),
        true
      );
      await failsWith("registry", /redirects to|in circles/);
    }
  });
  test("is not there", async () => {
    const gone = await TestRegistry.start();
    const { host } = gone;
    await gone[Symbol.asyncDispose]();
    const work = pullImage(parseReference(`${host}/a`) as RegistryReference, { ...places(), patience: PATIENCE });
    await failsWith("network", new RegExp(`${host} refuses connections`), work);
  });
});

describe("an image that", () => {
  const put = (manifest: unknown): void => registry.putManifest(json(manifest), OCI_MANIFEST, "1");
  const good = JSON.parse(PARTS.manifest.toString()) as { config: object; layers: object[] };
  const withParts = (parts: ImageParts): void => registry.put(parts, "1");

  test("is for another platform", async () => {
    withParts(makeParts([LOWER], { top: { architecture: "arm64" } }));
    await failsWith("wrong-platform", /not made for linux\/amd64, but for linux\/arm64/);
    const entry = { ...descriptor(PARTS.manifest, OCI_MANIFEST), platform: { os: "linux", architecture: "s390x" } };
    registry.putManifest(json({ schemaVersion: 2, manifests: [entry] }), OCI_INDEX, "1");
    await failsWith("wrong-platform", /but for linux\/s390x/);
  });
  test("is an index of indexes, over and over", async () => {
    let [bytes, mediaType] = [PARTS.manifest, OCI_MANIFEST];
    for (let depth = 0; depth < 4; depth++) {
      const entry = { ...descriptor(bytes, mediaType), platform: { os: "linux", architecture: "amd64" } };
      [bytes, mediaType] = [json({ schemaVersion: 2, manifests: [entry] }), OCI_INDEX];
      registry.putManifest(bytes, mediaType, String(depth));
    }
    await failsWith("damaged-image", /index of indexes/, pull("a:3"));
    await pull("a:2");
  });
  test("has layers of other kinds", async () => {
    const layer = { ...good.layers[0]!, mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" };
    put({ ...good, layers: [layer] });
    await failsWith("unsupported", /does not let registries distribute/);
    put({ ...good, layers: [{ ...layer, mediaType: "text/plain\u001b[31m" }] });
    await failsWith("unsupported", /of the kind "text\/plain \[31m"/);
    put({ ...good, config: { ...good.config, mediaType: "application/vnd.cncf.helm.config.v1+json" } });
    await failsWith("unsupported", /is no container image/);
    put({ schemaVersion: 1, fsLayers: [] });
    await failsWith("unsupported", /first kind/);
  });
  test("is malformed", async () => {
    for (const manifest of [
      1,
      [],
      {},
      { ...good, manifests: [] },
      { ...good, layers: {} },
      { ...good, layers: [null] },
      { ...good, layers: [{ digest: "sha256:12", size: 1 }] },
      { ...good, layers: [{ ...good.layers[0], size: -1 }] },
      { ...good, layers: [{ ...good.layers[0], size: 1e300 }] },
      { ...good, layers: [{ ...good.layers[0], digest: `sha256:../../../${"0".repeat(55)}` }] },
      { ...good, config: { mediaType: OCI_CONFIG, digest: digest(PARTS.config), size: 1e12 } },
      { ...good, layers: [...good.layers, good.layers[0]] },
      { manifests: [1] },
    ]) {
      put(manifest);
      await failsWith("damaged-image", /./);
    }
    for (const top of [
      { rootfs: {} },
      { rootfs: { diff_ids: ["x"] } },
      { config: [] },
      { config: { Cmd: "a" } },
      { config: { Env: [1] } },
      { config: { Labels: { a: 1 } } },
      { config: { WorkingDir: "a\0b" } },
    ]) {
      withParts(makeParts([LOWER], { top }));
      await failsWith("damaged-image", /configuration of/);
    }
  });
  test("has entries that climb out of its root", async () => {
    withParts(makeParts([tarOf({ "../../etc/passwd": "x" })]));
    await failsWith("refused-entry", /refused/);
    assert.deepEqual(readdirSync(join(home, "cache/downloads")), []);
  });
  test("has damaged compression, or content that its configuration does not tell", async () => {
    const cut = (tar: Buffer): Buffer => zstdCompressSync(tar).subarray(0, 40);
    withParts(makeParts([LOWER], { compress: cut }));
    await failsWith("damaged-layer", /compression is damaged/);
    withParts(makeParts([LOWER], { compress: () => LOWER.subarray(0, 515) }));
    await failsWith("damaged-layer", /in the middle of an entry/);
    withParts(makeParts([LOWER], { compress: () => LOWER.subarray(0, LOWER.length - 1024) }));
    await failsWith("wrong-digest", /other content than its digest/);
    withParts(makeParts([LOWER], { compress: () => zstdCompressSync(UPPER) }));
    await failsWith("wrong-digest", /other content than its digest/);
    assert.deepEqual(readdirSync(join(home, "cache/downloads")), []);
  });
});
