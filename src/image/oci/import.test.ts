/* Archives as tools of several ages make them, and as nobody should. Real tools' archives are in tests/images.test.ts. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { TAR_END, entryHeader, fileEntry } from "../debian/tar-writer.ts";
import { ImageError, type ImageErrorCode } from "../image-error.ts";
import { listImages } from "../store/records.ts";
import { importImages } from "./import.ts";
import {
  type ImageParts,
  OCI_INDEX,
  OCI_MANIFEST,
  descriptor,
  digest,
  json,
  makeParts,
  readFromDisk,
  tarOf,
} from "./test-registry.ts";

const LOWER = tarOf({ "./a": "lower", "./b": "lower" });
const UPPER = tarOf({ "./b": "upper" });
const PARTS = makeParts([LOWER, UPPER], { config: { Cmd: ["/a"] } });
const ID = digest(PARTS.config);

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mere-import-"));
});
afterEach(() => rmSync(home, { recursive: true }));
const places = (): { dataDir: string; cacheDir: string } => ({
  dataDir: join(home, "data"),
  cacheDir: join(home, "cache"),
});

type Files = Record<string, string | Buffer>;

/** An archive in a file. @param links symbolic links */
function archive(files: Files, links: Record<string, string> = {}, name = "x.tar"): string {
  const entries = Object.entries(files).map(([path, content]) => fileEntry(path, content));
  const linked = Object.entries(links).map(([path, linkPath]) =>
    entryHeader({ type: "symlink", path, linkPath, mode: 0o777 }),
  );
  writeFileSync(join(home, name), Buffer.concat([...linked, ...entries, TAR_END]));
  return join(home, name);
}

function directory(files: Files): string {
  const root = join(home, "layout");
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

/** Blobs of images, as a layout has them. */
function blobs(...images: ImageParts[]): Files {
  const all = images.flatMap(({ manifest, config, layers }) => [manifest, config, ...layers]);
  return Object.fromEntries(all.map((bytes) => [`blobs/${digest(bytes).replace(":", "/")}`, bytes]));
}

function index(...entries: object[]): Buffer {
  return json({ schemaVersion: 2, manifests: entries });
}

const named = (parts: ImageParts, name?: string): object => ({
  ...descriptor(parts.manifest, OCI_MANIFEST),
  ...(name !== undefined && { annotations: { "org.opencontainers.image.ref.name": name } }),
});

async function names(path: string, options: Parameters<typeof importImages>[1] = {}): Promise<(readonly string[])[]> {
  const images = await importImages(path, { ...places(), ...options });
  for (const { id, rootDisk } of images)
    if (id === ID)
      assert.deepEqual([await readFromDisk(rootDisk, "/a"), await readFromDisk(rootDisk, "/b")], ["lower", "upper"]);
  return images.map((image) => image.names);
}

describe("images of archives get their names", () => {
  test("from docker's manifest.json, old and new", async () => {
    const config = `${ID.slice(7)}.json`;
    const old = json([
      { Config: config, RepoTags: ["web:1", "debian:12"], Layers: ["one/layer.tar", "two/layer.tar"] },
    ]);
    // Equal layers were links to one another.
    const path = archive(
      { "manifest.json": old, [config]: PARTS.config, "one/layer.tar": LOWER, "real/layer.tar": UPPER },
      { "two/layer.tar": "../real/layer.tar" },
    );
    assert.deepEqual(await names(path), [["library/debian:12", "web:1"]]);
    const [lower, upper] = PARTS.layers.map((layer) => `blobs/${digest(layer).replace(":", "/")}`);
    const recent = json([{ Config: `blobs/${ID.replace(":", "/")}`, RepoTags: null, Layers: [lower, upper] }]);
    const both = archive({
      ...blobs(PARTS),
      "manifest.json": recent,
      "index.json": index(named(PARTS)),
      "oci-layout": "{}",
    });
    assert.deepEqual(await names(both), [["library/debian:12", "web:1"]]);
  });

  test("from a layout's annotations, which may be tags alone, or from the archive", async () => {
    const make = (...entries: object[]): Files => ({ ...blobs(PARTS), "index.json": index(...entries) });
    assert.deepEqual(await names(archive(make(named(PARTS, "2")), {}, "Web.oci.tar")), [["web:2"]]);
    assert.deepEqual(await names(archive(make(named(PARTS)), {}, "other.tar")), [["other:latest", "web:2"]]);
    assert.deepEqual(await names(directory(make(named(PARTS, "host.example/x:3")))), [
      ["host.example/x:3", "other:latest", "web:2"],
    ]);
    assert.deepEqual(
      (await names(archive(make(named(PARTS, "2"))), { name: "mine:1" })).flat().includes("mine:1"),
      true,
    );
  });

  test("or none, from standard input without any", async () => {
    const bytes = Buffer.concat([
      ...Object.entries({ ...blobs(PARTS), "index.json": index(named(PARTS)) }).map(([path, content]) =>
        fileEntry(path, content),
      ),
      TAR_END,
    ]);
    for (const packed of [bytes, gzipSync(bytes), zstdCompressSync(bytes)])
      assert.deepEqual(await names("-", { input: Readable.from([packed.subarray(0, 700), packed.subarray(700)]) }), [
        [],
      ]);
  });

  test("and the right platform, also behind an index", async () => {
    const arm = makeParts([LOWER], { top: { architecture: "arm64" } });
    const platform = (architecture: string): object => ({ platform: { os: "linux", architecture } });
    const inner = index({ ...named(arm), ...platform("arm64") }, { ...named(PARTS), ...platform("amd64") });
    const outer = index({
      ...descriptor(inner, OCI_INDEX),
      annotations: { "io.containerd.image.name": "host.example/multi:1" },
    });
    const path = archive({
      ...blobs(arm, PARTS),
      [`blobs/${digest(inner).replace(":", "/")}`]: inner,
      "index.json": outer,
    });
    assert.deepEqual(await names(path), [["host.example/multi:1"]]);
  });
});

describe("archives that are refused, with nothing left", () => {
  async function fails(
    code: ImageErrorCode,
    sentence: RegExp,
    path: string,
    options: Parameters<typeof importImages>[1] = {},
  ): Promise<void> {
    await assert.rejects(importImages(path, { ...places(), ...options }), (error) => {
      assert.ok(error instanceof ImageError, String(error));
      assert.match(error.message, sentence);
      assert.equal(error.code, code, error.message);
      return true;
    });
    assert.deepEqual(await listImages(places()), []);
    assert.deepEqual(
      readdirSync(join(home, "data/images")).filter((name) => name !== "by-id"),
      [],
    );
  }
  const saved = (value: unknown): Files => ({
    "manifest.json": json(value),
    config: PARTS.config,
    lower: LOWER,
    upper: UPPER,
  });
  const entry = { Config: "config", RepoTags: [], Layers: ["lower", "upper"] };

  test("no archives", async () => {
    writeFileSync(join(home, "text"), "some text");
    await fails("damaged-archive", /no whole tar archive/, join(home, "text"));
    writeFileSync(join(home, "empty"), "");
    await fails("damaged-archive", /neither index\.json nor manifest\.json/, join(home, "empty"));
    writeFileSync(join(home, "cut.gz"), gzipSync(LOWER).subarray(0, 60));
    await fails("damaged-archive", /cannot be decompressed/, join(home, "cut.gz"));
    writeFileSync(join(home, "x.xz"), Buffer.from("fd377a585a000000", "hex"));
    await fails("damaged-archive", /compressed with xz/, join(home, "x.xz"));
    await fails("not-found", /cannot be read \(ENOENT\)/, join(home, "none"));
    await fails("damaged-archive", /neither/, "-", { input: Readable.from([TAR_END]) });
  });

  test("names that lead out of them", async () => {
    writeFileSync(join(home, "secret"), PARTS.config);
    for (const config of ["../secret", join(home, "secret"), "..", "", "a\0b"])
      await fails("damaged-archive", /is not in it/, directory(saved([{ ...entry, Config: config }])));
    await fails(
      "damaged-archive",
      /is not in it/,
      archive(saved([{ ...entry, Config: "link" }]), { link: join(home, "secret") }),
    );
    await fails(
      "damaged-archive",
      /is not in it/,
      archive(saved([{ ...entry, Config: "l1" }]), { l1: "l2", l2: "l1" }),
    );
  });

  test("what is not what it says", async () => {
    for (const value of [
      {},
      [],
      [1],
      [{}],
      [{ ...entry, Layers: [1] }],
      [{ ...entry, RepoTags: [1] }],
      [{ ...entry, Layers: ["lower"] }],
      [{ ...entry, Layers: ["lower", "none"] }],
    ])
      await fails("damaged-archive", /no whole archive of images/, archive(saved(value)));
    await fails("damaged-image", /configuration/, archive({ ...saved([entry]), config: "{}x" }));
    await fails(
      "wrong-platform",
      /linux\/arm64/,
      archive({ ...saved([entry]), config: makeParts([LOWER, UPPER], { top: { architecture: "arm64" } }).config }),
    );
    await fails("bad-reference", /names no image/, archive(saved([{ ...entry, RepoTags: ["../x"] }])));
    const other = { ...blobs(PARTS), "index.json": index(named(PARTS)) };
    await fails(
      "digest-mismatch",
      /does not have that digest/,
      archive({ ...other, [`blobs/${ID.replace(":", "/")}`]: "{}" }),
    );
    await fails(
      "damaged-archive",
      /has 3 bytes, not \d+/,
      archive({ ...other, [`blobs/${digest(PARTS.layers[0]!).replace(":", "/")}`]: "abc" }),
    );
    await fails("damaged-archive", /index\.json is no index/, archive({ ...other, "index.json": PARTS.manifest }));
    await fails("damaged-archive", /names no image/, archive({ ...other, "index.json": index() }));
    await fails("damaged-archive", /more than any image's/, archive({ "manifest.json": Buffer.alloc(5 << 20) }));
  });

  test("one name for several images", async () => {
    const second = makeParts([UPPER]);
    const path = archive({ ...blobs(PARTS, second), "index.json": index(named(PARTS, "a:1"), named(second, "b:1")) });
    await fails("ambiguous", /has 2 images/, path, { name: "c" });
    await fails("bad-reference", /cannot be given/, path, { name: "debian" });
    assert.deepEqual(await names(path), [["a:1"], ["b:1"]]);
  });

  test("a directory of links and pipes", async () => {
    const root = directory(saved([entry]));
    rmSync(join(root, "config"));
    symlinkSync("/dev/zero", join(root, "config"));
    await fails("damaged-archive", /is not in it/, root);
  });
});
