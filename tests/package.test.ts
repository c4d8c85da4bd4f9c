/* The package as users get it: packed, installed elsewhere by npm, started through npx. npm takes the dependencies from its cache, which `npm ci` has filled. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const work = mkdtempSync(join(tmpdir(), "mere-package-"));
after(() => rmSync(work, { recursive: true, force: true }));

function npm(program: "npm" | "npx", words: string[], cwd: string): string {
  return execFileSync(program, words, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

test("the packed tarball works where it is installed, and holds what it should", () => {
  const packed = JSON.parse(npm("npm", ["pack", "--json", "--silent", "--pack-destination", work], root)) as unknown;
  const [{ filename, files }] = Object.values(
    packed as Record<string, { filename: string; files: { path: string }[] }>,
  );
  const paths = files.map((file) => file.path);
  assert.deepEqual(
    paths.filter((path) => /\.test\.|^src\/|^tests\/|^tools\//.test(path)),
    [],
  );
  for (const path of [
    "LICENSE",
    "README.md",
    "bin/mere.js",
    "dist/main.js",
    "dist/index.d.ts",
    "dist/init",
    "dist/mere.config",
    "dist/guest/main.c",
  ]) {
    assert.ok(paths.includes(path), `${path} is not in the package`);
  }
  const elsewhere = join(work, "elsewhere");
  writeFileSync(join(work, "package.json"), "{}");
  npm(
    "npm",
    ["install", "--prefix", elsewhere, "--prefer-offline", "--no-audit", "--no-fund", join(work, filename)],
    work,
  );
  assert.match(
    npm("npx", ["--no-install", "mere", "version"], elsewhere),
    new RegExp(`^mere ${version} \\(node 26\\.`),
  );
  assert.match(npm("npx", ["--no-install", "mere", "run", "--help"], elsewhere), /^Usage: mere run /);
  const program = `import { packageVersion } from "mere"; console.log(packageVersion());`;
  const node = join(elsewhere, "node_modules", ".bin", "node");
  const imported = execFileSync(node, ["--input-type=module", "-e", program], { cwd: elsewhere, encoding: "utf8" });
  assert.equal(imported, `${version}\n`);
});

test("npx finds mere in the source tree", () => {
  assert.match(npm("npx", ["mere", "version"], root), new RegExp(`^mere ${version} \\(node 26\\.`));
});
