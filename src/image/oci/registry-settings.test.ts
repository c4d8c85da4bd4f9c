import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ImageError } from "../image-error.ts";
import { type RegistryReference, parseReference } from "./reference.ts";
import { type Endpoint, endpointsFor, readRegistrySettings } from "./registry-settings.ts";

const directory = mkdtempSync(join(tmpdir(), "mere-settings-"));
const file = join(directory, "config.json");
after(() => rmSync(directory, { recursive: true }));

function endpoints(text: string, settings: Parameters<typeof endpointsFor>[1]): Endpoint[] {
  return endpointsFor(parseReference(text) as RegistryReference, settings);
}

test("names without a host are the user's registry's, short ones under library/ first", async () => {
  delete process.env["MERE_REGISTRY"];
  writeFileSync(file, JSON.stringify({ registry: "r.example", registries: { "M.example": { insecure: true } } }));
  const settings = await readRegistrySettings(file);
  const repositories = ["library/nginx", "nginx"];
  assert.deepEqual(endpoints("nginx", settings), [{ host: "r.example", origin: "https://r.example", repositories }]);
  assert.deepEqual(endpoints("a/b", settings)[0]!.repositories, ["a/b"]);
  assert.deepEqual(endpoints("m.example/a", settings), [
    { host: "m.example", origin: "http://m.example", repositories: ["a"] },
  ]);
  process.env["MERE_REGISTRY"] = "other.example:5000";
  assert.equal(endpoints("nginx", await readRegistrySettings(file))[0]!.host, "other.example:5000");
  process.env["MERE_REGISTRY"] = "http://other.example/";
  await assert.rejects(readRegistrySettings(file), /MERE_REGISTRY is .* which is no host/);
  delete process.env["MERE_REGISTRY"];
});

test("without one, the sentence says how to name it", async () => {
  const settings = await readRegistrySettings(join(directory, "none.json"));
  assert.throws(
    () => endpoints("nginx", settings),
    (error) => error instanceof ImageError && error.code === "no-registry" && /MERE_REGISTRY/.test(error.message),
  );
});

test("loopback is plain HTTP, a mirror is asked first", () => {
  const settings = {
    registry: "",
    registries: { "r.example": { mirror: "localhost:5000" }, "127.0.0.1:5000": { insecure: false } },
  };
  assert.deepEqual(
    endpoints("r.example/a", settings).map(({ origin }) => origin),
    ["http://localhost:5000", "https://r.example"],
  );
  assert.equal(endpoints("127.0.0.1:5001/a", settings)[0]!.origin, "http://127.0.0.1:5001");
  assert.equal(endpoints("127.0.0.1:5000/a", settings)[0]!.origin, "https://127.0.0.1:5000");
  assert.equal(endpoints("localhost.example/a", settings)[0]!.origin, "https://localhost.example");
});

test("a configuration that cannot be used is named", async () => {
  for (const text of [
    "",
    "[]",
    '{"registry":1}',
    '{"registry":"a/b"}',
    '{"registries":[]}',
    '{"registries":{"a":1}}',
    '{"registries":{"a":{"insecure":"yes"}}}',
    '{"registries":{"a":{"mirror":"http://b"}}}',
  ]) {
    writeFileSync(file, text);
    await assert.rejects(
      readRegistrySettings(file),
      (error) => error instanceof ImageError && error.code === "bad-config" && error.message.includes(file),
      text,
    );
  }
});
