/* Images from a real registry and from real archives, made by real tools, through the command line; their root disks are real file systems. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import type { StoredImage } from "../src/image/images.ts";
import { runCommand } from "../src/image/command.ts";
import { DockerRegistry, makeLayout, missingTools, tool } from "./support/docker-registry.ts";
import { type Ended, MERE, runMere, startMere, summary } from "./support/mere.ts";
import { TokenService } from "./support/token-service.ts";

const why = await missingTools();

describe("images", { skip: why, timeout: 240_000 }, () => {
  let home = "";
  let layout = "";
  let registry: DockerRegistry;
  let stores = 0;

  before(async () => {
    home = mkdtempSync(join(tmpdir(), "mere-images-"));
    layout = await makeLayout(home);
    registry = await DockerRegistry.start(join(home, "registry"));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    rmSync(home, { recursive: true });
  });

  const skopeo = (...args: string[]): Promise<string> => tool(home, "skopeo", ...args);
  const push = (from: string, to: string, ...options: string[]): Promise<string> =>
    skopeo("copy", "-q", "--dest-tls-verify=false", ...options, from, `docker://${registry.host}/${to}`);

  /** A store of its own for one test. */
  function newStore(): { env: Record<string, string>; directory: string } {
    const directory = join(home, `store-${stores++}`);
    mkdirSync(directory);
    const env = {
      XDG_DATA_HOME: join(directory, "data"),
      XDG_CACHE_HOME: join(directory, "cache"),
      XDG_CONFIG_HOME: directory,
      DOCKER_CONFIG: directory,
      MERE_REGISTRY: "",
    };
    return { env, directory };
  }
  const mere = ({ env }: { env: Record<string, string> }, ...words: string[]): Promise<Ended> =>
    runMere(["image", ...words], { env });

  async function list(store: { env: Record<string, string> }): Promise<StoredImage[]> {
    const ended = await mere(store, "list", "--json");
    assert.equal(ended.status, 0, summary(ended));
    return JSON.parse(ended.stdout.toString()) as StoredImage[];
  }

  async function succeeds(store: { env: Record<string, string> }, ...words: string[]): Promise<string> {
    const ended = await mere(store, ...words);
    assert.equal(ended.status, 0, summary(ended));
    return ended.stdout.toString().trim();
  }

  async function e2fs(program: string, ...args: string[]): Promise<{ status: number; stdout: string }> {
    return runCommand("env", [`PATH=${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, program, ...args]);
  }

  /** The one image of the store is the layout's. */
  async function assertImage(store: { env: Record<string, string> }, names: readonly string[]): Promise<StoredImage> {
    const [image, ...others] = await list(store);
    assert.deepEqual(others, []);
    assert.deepEqual(image!.names, names);
    const cat = async (path: string): Promise<string> =>
      (await e2fs("debugfs", "-R", `cat ${path}`, image!.rootDisk)).stdout;
    assert.deepEqual([await cat("/etc/one"), await cat("/etc/two"), await cat("/etc/gone")], ["one", "two", ""]);
    assert.equal((await e2fs("e2fsck", "-fn", image!.rootDisk)).status, 0);
    return image!;
  }

  const CONFIG = {
    entrypoint: ["/bin/busybox"],
    cmd: ["sh"],
    workingDir: "/etc",
    user: "1:2",
    exposedPorts: ["80/tcp"],
    stopSignal: "SIGINT",
    labels: { x: "y" },
  };

  test("are pulled with gzip layers, with their configuration", async () => {
    await push(`oci:${layout}:1`, "oci:1");
    const store = newStore();
    const id = await succeeds(store, "pull", `${registry.host}/oci:1`);
    const image = await assertImage(store, [`${registry.host}/oci:1`]);
    assert.equal(image.id, id);
    const { env, ...config } = image.config;
    assert.deepEqual(config, CONFIG);
    assert.ok(env.includes("A=1"));
    assert.deepEqual(readdirSync(join(store.env["XDG_CACHE_HOME"]!, "mere/downloads")), []);
  });

  test("are pulled with zstd layers, docker's manifests, and from the registry that is set", async () => {
    await skopeo("copy", "-q", "--dest-decompress", `oci:${layout}:1`, `dir:${home}/plain`);
    // A registry of its own: skopeo remembers what the other has compressed otherwise, and would take that.
    await using fresh = await DockerRegistry.start(join(home, "fresh"));
    const to = `docker://${fresh.host}/library/zstd:1`;
    const zstd = ["--format", "oci", "--dest-compress-format", "zstd"];
    await skopeo("copy", "-q", "--dest-tls-verify=false", ...zstd, `dir:${home}/plain`, to);
    const raw = JSON.parse(await skopeo("inspect", "--raw", "--tls-verify=false", to)) as {
      layers: { mediaType: string }[];
    };
    assert.ok(
      raw.layers.every(({ mediaType }) => mediaType.endsWith("zstd")),
      JSON.stringify(raw),
    );
    const store = newStore();
    await succeeds({ env: { ...store.env, MERE_REGISTRY: fresh.host } }, "pull", "zstd:1");
    await assertImage(store, ["zstd:1"]);
    await push(`oci:${layout}:1`, "v2:1", "--format", "v2s2");
    const second = newStore();
    await succeeds(second, "pull", `${registry.host}/v2:1`);
    await assertImage(second, [`${registry.host}/v2:1`]);
  });

  test("are pulled through the proxy of the environment", async () => {
    await push(`oci:${layout}:1`, "far:1");
    const asked: string[] = [];
    const proxy = createServer((asking, answering) => {
      // Node asks a proxy for plain HTTP with the whole address.
      const { host, pathname } = new URL(asking.url!);
      asked.push(host);
      const { headers } = asking;
      request(`http://${registry.host}${pathname}`, { headers }, (answer) => {
        answering.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(answering);
      }).end();
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    try {
      const store = newStore();
      mkdirSync(join(store.directory, "mere"));
      writeFileSync(
        join(store.directory, "mere/config.json"),
        JSON.stringify({ registries: { "far.test:5000": { insecure: true } } }),
      );
      const HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      await succeeds({ env: { ...store.env, HTTP_PROXY, NO_PROXY: "" } }, "pull", "far.test:5000/far:1");
      await assertImage(store, ["far.test:5000/far:1"]);
      assert.ok(asked.length > 0 && asked.every((target) => target === "far.test:5000"), asked.join());
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  test("for several platforms, made by buildah, are pulled for amd64", async () => {
    const policy = join(home, "policy.json");
    writeFileSync(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    const buildah = (...args: string[]): Promise<string> => tool(home, "buildah", ...args);
    const container = await buildah("from", "scratch");
    await buildah("copy", container, join(home, "two"), "/etc/two");
    await buildah("config", "--cmd", "/bin/sh", container);
    await buildah("commit", "--signature-policy", policy, container, "first");
    await buildah("config", "--arch", "arm64", container);
    await buildah("commit", "--signature-policy", policy, container, "second");
    await buildah("manifest", "create", "multi");
    for (const [name, arch] of [
      ["second", "arm64"],
      ["first", "amd64"],
    ] as const)
      await buildah(
        "manifest",
        "add",
        "--os",
        "linux",
        "--arch",
        arch,
        "multi",
        `containers-storage:localhost/${name}`,
      );
    await buildah(
      "manifest",
      "push",
      "--signature-policy",
      policy,
      "--tls-verify=false",
      "--all",
      "multi",
      `docker://${registry.host}/multi:1`,
    );
    const store = newStore();
    await succeeds(store, "pull", `${registry.host}/multi:1`);
    const [image] = await list(store);
    assert.deepEqual(image!.config.cmd, ["/bin/sh"]);
    assert.equal((await e2fs("debugfs", "-R", "cat /etc/two", image!.rootDisk)).stdout, "two");
  });

  test("are pulled with a token for docker's credentials, and not without", async () => {
    using tokens = await TokenService.start(home, "u", "p");
    await using guarded = await DockerRegistry.start(join(home, "guarded"), tokens.auth);
    await skopeo(
      "copy",
      "-q",
      "--dest-tls-verify=false",
      "--dest-creds",
      "u:p",
      `oci:${layout}:1`,
      `docker://${guarded.host}/dir/a:1`,
    );
    tokens.asked.length = 0;
    const store = newStore();
    const refused = await mere(store, "pull", `${guarded.host}/dir/a:1`);
    assert.deepEqual([refused.status, refused.stdout.toString()], [1, ""]);
    assert.match(refused.stderr, /does not give a token .*docker login/);
    assert.deepEqual(await list(store), []);
    writeFileSync(
      join(store.directory, "config.json"),
      JSON.stringify({ auths: { [guarded.host]: { auth: btoa("u:p") } } }),
    );
    await succeeds(store, "pull", `${guarded.host}/dir/a:1`);
    await assertImage(store, [`${guarded.host}/dir/a:1`]);
    assert.deepEqual(tokens.asked, ["", `Basic ${btoa("u:p")}`]);
  });

  test("are imported from layouts and archives, plain and compressed, as files and standard input", async () => {
    const files = { oci: join(home, "some.oci.tar"), docker: join(home, "saved.tar") };
    await skopeo("copy", "-q", `oci:${layout}:1`, `oci-archive:${files.oci}:3`);
    await skopeo("copy", "-q", `oci:${layout}:1`, `docker-archive:${files.docker}:localhost/my/name:2`);
    const cases: [string, string[], string[]][] = [
      ["layout", [layout], ["layout:1"]],
      ["OCI archive", [files.oci], ["some:3"]],
      ["docker archive", [files.docker], ["localhost/my/name:2"]],
      ["with a name", ["--name", "web:5", files.oci], ["web:5"]],
    ];
    for (const [, words, names] of cases) {
      const store = newStore();
      await succeeds(store, "import", ...words);
      await assertImage(store, names);
    }
    const store = newStore();
    const { ended } = startMere(["image", "import", "-"], {
      env: store.env,
      input: zstdCompressSync(readFileSync(files.docker)),
    });
    const end = await ended;
    assert.equal(end.status, 0, summary(end));
    await assertImage(store, ["localhost/my/name:2"]);
    assert.deepEqual(readdirSync(join(store.env["XDG_DATA_HOME"]!, "mere/images")).sort(), ["by-id", "names"]);
  });

  test("several in one archive all get their names", async () => {
    const store = newStore();
    const both = join(home, "both");
    await skopeo("copy", "-q", `oci:${layout}:1`, `oci:${both}:a/one:1`);
    await skopeo("copy", "-q", `oci:${layout}:1`, `oci:${both}:a/two:1`);
    await succeeds(store, "import", both);
    await assertImage(store, ["a/one:1", "a/two:1"]);
    const ended = await mere(store, "remove", "a/one:1", "a/two:1", "a/three:1");
    assert.equal(ended.status, 1, summary(ended));
    assert.match(ended.stdout.toString(), /^name removed: a\/one:1\nremoved: a\/two:1\n$/);
    assert.match(ended.stderr, /^mere image remove: The store has no image a\/three:1; .*\n$/);
    assert.deepEqual(await list(store), []);
  });

  test("get a configuration and a name of one's own", async () => {
    const store = newStore();
    await succeeds(store, "import", layout);
    await succeeds(
      store,
      "build",
      "web:2",
      "layout:1",
      "-e",
      "A=2",
      "--expose",
      "443",
      "--label",
      "z=1",
      "--entrypoint",
      "",
      "--",
      "/bin/sh",
      "-c",
      "true",
    );
    const [web, base] = (await list(store)).sort((a, b) => (a.names[0]! > b.names[0]! ? -1 : 1));
    assert.deepEqual([web!.names, base!.names], [["web:2"], ["layout:1"]]);
    const { entrypoint, cmd, env, exposedPorts, labels, user } = web!.config;
    assert.deepEqual(
      [entrypoint, cmd, exposedPorts, labels, user],
      [[], ["/bin/sh", "-c", "true"], ["443/tcp"], { x: "y", z: "1" }, "1:2"],
    );
    assert.ok(env.includes("A=2") && !env.includes("A=1"));
    assert.match(
      await succeeds(store, "list"),
      /^NAME +ID +AGE +SIZE\n(?:\S+:[12] +[0-9a-f]{12} +\d+ \w+ +[\d.]+ MiB\n?){2}$/,
    );
    assert.equal(await succeeds(store, "list", "-q"), `${web!.id}\n${base!.id}`);
  });

  test("that do not fit on the disk leave nothing", async (t) => {
    await push(`oci:${layout}:1`, "large:1");
    const full = join(home, "full");
    mkdirSync(full);
    // A file system of its own for one process, which ends with it; what is left is listed before.
    const script = `mount -t tmpfs -o size=512k none "$1" || exit 77; shift; "$@"; status=$?; find ${full}/mere/images ${full}/mere/downloads -type f 2>/dev/null; exit $status`;
    for (const [part, variable] of [
      ["data", "XDG_DATA_HOME"],
      ["cache", "XDG_CACHE_HOME"],
    ] as const) {
      const { env } = newStore();
      const words = [process.execPath, MERE, "image", "pull", `${registry.host}/large:1`];
      const settings = Object.entries({ ...env, [variable]: full }).map(([name, value]) => `${name}=${value}`);
      const ended = await runCommand("unshare", ["-rm", "sh", "-c", script, "sh", full, "env", ...settings, ...words]);
      if (ended.status === 77 || /unshare/.test(ended.stderr)) return t.skip("no mounts here");
      assert.deepEqual([ended.status, ended.stdout], [1, ""], `${part}: ${ended.stderr}`);
      assert.match(ended.stderr, new RegExp(`[Nn]o space left|no room|${variable}`));
    }
  });

  test("that are damaged leave nothing", async () => {
    const damaged = join(home, "damaged");
    await runCommand("cp", ["-r", layout, damaged]);
    const blobs = readdirSync(join(damaged, "blobs/sha256"), { withFileTypes: true });
    const sizes = blobs.map(({ name }) => ({
      path: join(damaged, "blobs/sha256", name),
      size: readFileSync(join(damaged, "blobs/sha256", name)).length,
    }));
    const largest = sizes.sort((a, b) => b.size - a.size)[0]!;
    const bytes = readFileSync(largest.path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(largest.path, bytes);
    const store = newStore();
    for (const [words, sentence] of [
      [["import", damaged], /damaged/],
      [["import", join(home, "none.tar")], /cannot be read \(ENOENT\)/],
      [["import", join(home, "two")], /no whole tar archive|neither index\.json nor manifest\.json/],
      [["import", home], /neither index\.json nor manifest\.json/],
      [["pull", `${registry.host}/nothing:1`], /does not have nothing:1/],
      [["pull", "nothing:1"], /names no registry and none is set; .*MERE_REGISTRY/],
    ] as [string[], RegExp][]) {
      const ended = await mere(store, ...words);
      assert.equal(ended.status, 1, summary(ended));
      assert.match(ended.stderr, sentence);
      assert.match(ended.stderr, /^(?:[^\n]+(?: …|: done|: not finished)\n)*mere image \w+: [^\n]+\.\n$/);
    }
    assert.deepEqual(await list(store), []);
    assert.deepEqual(
      readdirSync(join(store.env["XDG_DATA_HOME"]!, "mere/images")).filter((name) => name.startsWith(".")),
      [],
    );
  });
});
