/* Images of Debian packages, with packages made here by dpkg-deb and a stand-in for apt; what stands for the VM looks at the script and at the disk. That real
 * packages are configured by a real VM is shown by tests/debian-image.test.ts. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { runCommand } from "../command.ts";
import { ImageError } from "../image-error.ts";
import { ensureImage, listImages } from "../images.ts";
import { readFromDisk } from "../oci/test-registry.ts";
import { PackageError } from "../package-error.ts";
import type { EnsureOptions } from "../store/options.ts";
import type { StoredImage } from "../store/stored-image.ts";

const hasDpkg = await runCommand("dpkg-deb", ["--version"]).then(
  () => true,
  () => false,
);
const LONG = `usr/lib/${"directory-with-a-long-name/".repeat(9)}file`;

describe("an image of Debian packages", { skip: hasDpkg ? false : "no dpkg-deb here" }, () => {
  const path = process.env["PATH"]!;
  let home = "";
  /** Scripts that the VM was given. */
  let scripts: string[] = [];
  /** What the last one that saw a directory saw in it, and what of it has control files. */
  let sharedWith: Record<string, string> = {};
  let places: { dataDir: string; cacheDir: string };
  let count = 0;

  before(async () => {
    home = mkdtempSync(join(tmpdir(), "mere-debian-"));
    mkdirSync(join(home, "bin"));
    mkdirSync(join(home, "debs"));
    process.env["PATH"] = `${join(home, "bin")}:${path}`;
    await deb(
      "libx",
      "1:2.0-1",
      { "lib/x86_64-linux-gnu/libx.so": "library" },
      { fields: "Multi-Arch: same\n", triggers: "interest-noawait /usr/share/x\ninterest x-named # why\nactivate y\n" },
    );
    await deb(
      "app",
      "1.0",
      {
        "bin/app": "program",
        [LONG]: "deep",
        "etc/app.conf": "setting\n",
        "usr/share/man/man1/app.1": "manual",
        "usr/share/doc/app/copyright": "licence",
        "usr/share/doc/app/changelog": "changes",
        "usr/share/locale/de/LC_MESSAGES/app.mo": "Text",
      },
      { conffiles: "/etc/app.conf\n", preinst: "#!/bin/sh\n" },
    );
    await deb("base-passwd", "3", {}, { preinst: "#!/bin/sh\n", postinst: "#!/bin/sh\n" });
    apt("libx=1:2.0-1 app=1.0 base-passwd=3");
  });
  after(() => {
    process.env["PATH"] = path;
    rmSync(home, { recursive: true });
  });
  beforeEach(() => {
    scripts = [];
    places = { dataDir: join(home, `data-${count}`), cacheDir: join(home, `cache-${count++}`) };
    writeFileSync(join(home, "calls"), "");
  });

  /** Builds a package out of files and control files. */
  async function deb(
    name: string,
    version: string,
    files: Record<string, string>,
    control: Record<string, string>,
  ): Promise<void> {
    const root = join(home, "tree");
    rmSync(root, { recursive: true, force: true });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text, { mode: file.startsWith("bin/") ? 0o4755 : 0o644 });
    }
    if (name === "app") {
      chmodSync(join(root, "bin/app"), 0o4755);
      linkSync(join(root, "bin/app"), join(root, "bin/app2"));
      symlinkSync("../lib/x86_64-linux-gnu/libx.so", join(root, "etc/link"));
    }
    const { fields = "", ...rest } = control;
    mkdirSync(join(root, "DEBIAN"), { recursive: true });
    writeFileSync(
      join(root, "DEBIAN/control"),
      `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: M <m@example>\n${fields}Description: short\n long\n .\n text\n`,
    );
    for (const [file, text] of Object.entries(rest))
      writeFileSync(join(root, "DEBIAN", file), text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
    const file = join(home, "debs", `${name}_${encodeURIComponent(version)}_amd64.deb`);
    const built = await runCommand("dpkg-deb", ["--root-owner-group", "-Znone", "--build", root, file]);
    assert.equal(built.status, 0, built.stderr);
  }

  /** apt knows these, in this order. @param extra with a package of this name it chooses others */
  function apt(packages: string, extra = { name: "none", packages: "" }): void {
    const uris = (list: string): string =>
      list
        .split(" ")
        .map((entry) => {
          const file = `${entry.split("=")[0]}_${encodeURIComponent(entry.split("=")[1]!)}_amd64.deb`;
          return `echo "'http://d.example/${file}' ${file} 10 SHA256:0"`;
        })
        .join(";");
    const script = (name: string, text: string): void =>
      writeFileSync(join(home, "bin", name), `#!/bin/sh\necho "${name} $*" >>${home}/calls\n${text}\n`, {
        mode: 0o755,
      });
    script("apt-cache", "exit 100");
    const sources =
      "http://u:p@d.example/debian\\tstable\\tmain\\tDebian\\nPackages\\thttp://10.1.2.3/debian\\tstable\\tmain\\tDebian";
    script(
      "apt-get",
      `case "$*" in *--print-uris*\\ ${extra.name}*) ${uris(extra.packages)};; *--print-uris*) ${uris(packages)};; *indextargets*) printf 'Packages\\t${sources}\\n';; *--download-only*) to=\${*##*Dir::Cache::archives=}; cp ${home}/debs/* "\${to%% *}";; *\\ download\\ *) for each in \${*##* download }; do cp ${home}/debs/\${each%=*}_* .; done;; esac`,
    );
  }

  const calls = (what: RegExp): string[] =>
    readFileSync(join(home, "calls"), "utf8")
      .split("\n")
      .filter((line) => what.test(line));

  function ensure(name: string, options: EnsureOptions = {}, status = 0): Promise<StoredImage> {
    return ensureImage(name, {
      ...places,
      configure: async (disk, script, { onOutput, shared }) => {
        scripts.push(script);
        if (shared !== undefined) sharedWith = await namesUnder(shared.host);
        assert.match(await readFromDisk(disk, "/usr/sbin/policy-rc.d"), /exit 101/);
        onOutput?.("Setting up a (1) ...\nSetting ");
        onOutput?.("up b (1) ...\n");
        return { status, log: "first\nlast words\u001b[31m\n" };
      },
      ...options,
    });
  }

  test("has their files as dpkg would have unpacked them, with /usr merged", async () => {
    const image = await ensure("debian:app,libx");
    assert.deepEqual(image.names, ["debian:app,libx"]);
    assert.deepEqual([image.config.cmd, image.config.env.length], [["/bin/bash"], 1]);
    const cat = (file: string): Promise<string> => readFromDisk(image.rootDisk, file);
    assert.equal(await cat("/usr/bin/app"), "program");
    assert.equal(await cat("/usr/bin/app2"), "program");
    assert.equal(await cat("/usr/lib/x86_64-linux-gnu/libx.so"), "library");
    assert.equal(await cat(`/${LONG}`), "deep");
    assert.equal(await cat("/etc/app.conf"), "setting\n");
    assert.equal(await cat("/usr/share/doc/app/copyright"), "licence");
    for (const file of [
      "/usr/share/man/man1/app.1",
      "/usr/share/doc/app/changelog",
      "/usr/share/locale/de/LC_MESSAGES/app.mo",
    ])
      assert.equal(await cat(file), "", file);
    const stat = async (file: string): Promise<string> =>
      (await debugfs(image.rootDisk, `stat ${file}`)).replace(/\s+/g, " ");
    assert.match(await stat("/bin"), /Type: symlink .*dest: "usr\/bin"/);
    assert.match(await stat("/usr/bin/app"), /Mode: 04755 .*User: 0 Group: 0 .*Links: 2/);
    const sources = await cat("/etc/apt/sources.list.d/debian.sources");
    assert.match(
      sources,
      /^Types: deb\nURIs: http:\/\/d\.example\/debian\nSuites: stable\nComponents: main\nSigned-By: \S+\n$/,
    );
    assert.equal(await cat("/etc/default/locale"), "LANG=C.UTF-8\n");
    assert.match(await cat("/etc/dpkg/dpkg.cfg.d/excludes"), /^path-exclude=\/usr\/share\/doc\/\*\/\*$/m);
  });

  test("has a database that dpkg itself reads", async () => {
    const image = await ensure("debian");
    const admin = join(home, "admin");
    rmSync(admin, { recursive: true, force: true });
    mkdirSync(admin);
    await debugfs(image.rootDisk, `rdump /var/lib/dpkg ${admin}`);
    const query = async (...args: string[]): Promise<string> => {
      const result = await runCommand("dpkg-query", [`--admindir=${admin}/dpkg`, ...args]);
      assert.deepEqual([result.status, result.stderr], [0, ""]);
      return result.stdout;
    };
    assert.equal(
      await query("-W", "-f", "${binary:Package} ${Version} ${Status} [${Conffiles}]\n"),
      `app 1.0 install ok unpacked [ /etc/app.conf ${md5("setting\n")}]
base-passwd 3 install ok unpacked []
libx:amd64 1:2.0-1 install ok unpacked []
`,
    );
    assert.deepEqual((await query("-L", "libx:amd64")).split("\n"), [
      "/.",
      "/lib",
      "/lib/x86_64-linux-gnu",
      "/lib/x86_64-linux-gnu/libx.so",
      "",
    ]);
    assert.match(await query("-L", "app"), /^\/bin\/app2?$/m);
    assert.match(await query("-s", "app"), /^Description: short\n long\n \.\n text$/m);
    assert.equal(await query("--control-list", "app"), "preinst\n");
    assert.equal(readFileSync(join(admin, "dpkg/triggers/File"), "utf8"), "/usr/share/x libx:amd64/noawait\n");
    assert.equal(readFileSync(join(admin, "dpkg/triggers/x-named"), "utf8"), "libx:amd64\n");
  });

  test("is configured by a script that calls what dpkg would have called", async () => {
    const seen: string[] = [];
    await ensure("debian", { onProgress: (phase, done, total) => seen.push(`${phase} ${done}/${total}`) });
    const [script, ...others] = scripts;
    assert.deepEqual(others, []);
    const preinsts = script!.split("\n").filter((line) => line.startsWith("preinst ") && !line.includes("("));
    assert.deepEqual(preinsts, ["preinst base-passwd base-passwd amd64", "preinst app app amd64"]);
    assert.match(script!, /^PATH=\S+ dpkg --configure -a$/m);
    assert.equal((await runCommand("sh", ["-n", "-c", script!])).status, 0, "it is a script");
    assert.ok(seen.includes("unpack 3/3"));
    assert.deepEqual(
      seen.filter((line) => line.startsWith("configure")),
      ["configure 0/3", "configure 1/3", "configure 2/3"],
    );
  });

  test("is found again: by its name without apt, by its packages without downloading", async () => {
    const image = await ensure("debian:app");
    process.env["PATH"] = "/nonexistent";
    assert.equal((await ensure("debian:app")).id, image.id);
    process.env["PATH"] = `${join(home, "bin")}:${path}`;
    assert.deepEqual([calls(/--download-only/).length, scripts.length], [1, 1]);
    assert.equal((await ensure("debian:app", { pull: "always" })).id, image.id);
    const other = await ensure("debian:libx,app");
    assert.deepEqual([other.id, other.names], [image.id, ["debian:app", "debian:app,libx"]]);
    assert.deepEqual([calls(/--download-only/).length, calls(/ update$/).length, scripts.length], [1, 3, 1]);
    assert.deepEqual(readdirSync(join(places.cacheDir, "downloads")), []);
  });

  test("with newer packages is another, which takes the name", async () => {
    const image = await ensure("debian");
    await deb("app", "1.1", { "bin/app": "newer", "etc/app.conf": "newer\n" }, {});
    apt("libx=1:2.0-1 app=1.1 base-passwd=3");
    const newer = await ensure("debian", { pull: "always" });
    apt("libx=1:2.0-1 app=1.0 base-passwd=3");
    assert.notEqual(newer.id, image.id);
    assert.equal(await readFromDisk(newer.rootDisk, "/usr/bin/app"), "newer");
    assert.deepEqual(
      (await listImages(places)).map(({ names }) => names),
      [["debian"], []],
    );
  });

  describe("on a base", () => {
    const BASE = "libx=1:2.0-1 base-passwd=3";
    const whole = (): Promise<StoredImage> => ensure("debian:extra");
    before(async () => {
      await deb("extra", "2", { "bin/extra": "more" }, { fields: "Pre-Depends: needed\n" });
      await deb("needed", "1", { "bin/needed": "needed" }, {});
    });
    beforeEach(() => apt(BASE, { name: "extra", packages: `${BASE} extra=2 needed=1` }));
    after(() => apt("libx=1:2.0-1 app=1.0 base-passwd=3"));

    test("has the base's files, and dpkg is given what is not in it, in batches", async () => {
      const base = await ensure("debian");
      const seen: string[] = [];
      const image = await ensure("debian:extra", {
        onProgress: (phase, done, total) => seen.push(`${phase} ${done}/${total}`),
      });
      assert.notEqual(image.id, base.id);
      assert.equal(await readFromDisk(image.rootDisk, "/usr/lib/x86_64-linux-gnu/libx.so"), "library");
      assert.deepEqual(sharedWith, {
        "0/needed.deb": "Package: needed Version: 1 ./bin/needed",
        "1/extra.deb": "Package: extra Version: 2 ./bin/extra",
      });
      assert.equal(scripts.length, 2);
      assert.deepEqual(
        scripts[1]!.split("\n").flatMap((line) => /^dpkg .*(--(?:un|conf).*)/.exec(line)?.[1] ?? []),
        [
          "--unpack /run/packages/0/*.deb",
          "--configure needed </dev/null",
          "--unpack /run/packages/1/*.deb",
          "--configure extra </dev/null",
          "--configure -a </dev/null",
        ],
      );
      assert.equal((await runCommand("sh", ["-n", "-c", scripts[1]!])).status, 0, "it is a script");
      assert.match(scripts[1]!, /exit 101[^]*policy-rc\.d[^]*rm -f \/usr\/sbin\/policy-rc\.d/);
      assert.ok(seen.includes("unpack 2/2") && seen.includes("configure 2/2"), seen.join());
      assert.deepEqual(
        calls(/ download /).map((line) => line.replace(/.* download /, "")),
        ["extra=2 needed=1"],
      );
      assert.deepEqual(readdirSync(join(places.cacheDir, "downloads")), []);
    });

    test("makes the base first, which stays under its name", async () => {
      const image = await whole();
      assert.equal(scripts.length, 2);
      const [newest, base] = await listImages(places);
      assert.deepEqual([newest!.id, base!.names, newest!.names], [image.id, ["debian"], ["debian:extra"]]);
      await ensure("debian", { pull: "always" });
      assert.equal(scripts.length, 2);
    });

    test("is the same image as one made at once, and is found by it", async () => {
      const image = await whole();
      apt(BASE, { name: "other", packages: `${BASE} needed=1 extra=2` });
      assert.equal((await ensure("debian:other")).id, image.id);
      assert.equal(scripts.length, 2);
    });

    test("does without it where apt chooses otherwise, or its versions are others", async () => {
      apt(BASE, { name: "extra", packages: "base-passwd=3 extra=2 needed=1" });
      await whole();
      assert.deepEqual(
        scripts.map((script) => script.includes("/run/packages")),
        [false],
      );
      assert.deepEqual(
        (await listImages(places)).map(({ names }) => names),
        [["debian:extra"]],
      );
    });

    test("that cannot be installed leaves the base", async () => {
      await ensure("debian");
      await assert.rejects(ensure("debian:extra", {}, 1), /could not be configured/);
      assert.deepEqual(
        (await listImages(places)).map(({ names }) => names),
        [["debian"]],
      );
      assert.deepEqual(readdirSync(join(places.dataDir, "images")).sort(), ["by-id", "names"]);
    });
  });

  test("that cannot be configured leaves nothing but what was downloaded", async () => {
    await assert.rejects(ensure("debian", {}, 1), (error) => {
      assert.ok(error instanceof ImageError && error.code === "configure-failed");
      assert.match(
        error.message,
        /could not be configured \(status 1\); leave out .*\n {2}first\n {2}last words \[31m$/,
      );
      return true;
    });
    assert.deepEqual(await listImages(places), []);
    assert.deepEqual(readdirSync(join(places.dataDir, "images")), []);
    await ensure("debian");
    assert.deepEqual(readdirSync(join(places.dataDir, "images")).sort(), ["by-id", "names"]);
  });

  test("needs a VM, packages that are whole, and apt", async () => {
    await assert.rejects(
      ensureImage("debian", places),
      (error) => error instanceof ImageError && error.code === "unsupported",
    );
    apt("libx=1:2.0-1 app=9 base-passwd=3");
    await assert.rejects(ensure("debian"), /no file for app=9/);
    const whole = readFileSync(join(home, "debs/app_1.0_amd64.deb"));
    writeFileSync(join(home, "debs/app_1.0_amd64.deb"), whole.subarray(0, whole.length - 3000));
    apt("libx=1:2.0-1 app=1.0 base-passwd=3");
    await assert.rejects(ensure("debian"), (error) => {
      assert.ok(error instanceof PackageError, String(error));
      assert.match(error.message, /package app_1\.0_amd64\.deb cannot be unpacked: .*; try again/);
      return true;
    });
    writeFileSync(join(home, "debs/app_1.0_amd64.deb"), whole);
    process.env["PATH"] = "/nonexistent";
    await assert.rejects(ensure("debian"), /apt-get was not found.*use an image of a registry/);
    process.env["PATH"] = `${join(home, "bin")}:${path}`;
    assert.deepEqual(await listImages(places), []);
    assert.deepEqual(readdirSync(join(places.dataDir, "images")), []);
  });
});

/** Packages below a directory with their first file members, as dpkg-deb tells. */
async function namesUnder(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }).sort())
    if (name.endsWith(".deb")) {
      const { stdout, stderr } = await runCommand("dpkg-deb", ["--contents", join(directory, name)]);
      const fields = await runCommand("dpkg-deb", ["--field", join(directory, name), "Package", "Version"]);
      const files = stdout.split("\n").map((line) => line.split(/\s+/)[5]);
      found[name] =
        `${fields.stdout.replaceAll("\n", " ")}${files.filter((file) => file?.endsWith("/") === false).join(" ")}${stderr}`;
    }
  return found;
}

function md5(text: string): string {
  return createHash("md5").update(text).digest("hex");
}

async function debugfs(disk: string, request: string): Promise<string> {
  const { stdout } = await runCommand("env", [
    `PATH=${process.env["PATH"] ?? ""}:/usr/sbin`,
    "debugfs",
    "-R",
    request,
    disk,
  ]);
  return stdout;
}
