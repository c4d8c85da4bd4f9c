import assert from "node:assert/strict";
import { test } from "node:test";
import { ImageError } from "../image-error.ts";
import { archiveName, idDigits, parseReference } from "./reference.ts";

const D = `sha256:${"0123456789abcdef".repeat(4)}`;

test("references to registries are docker's", () => {
  const cases: [string, string, string, string, string, string][] = [
    // text, host, path, tag, digest, name
    ["nginx", "", "nginx", "latest", "", "nginx:latest"],
    ["library/nginx:1.27", "", "nginx", "1.27", "", "nginx:1.27"],
    ["a/b", "", "a/b", "latest", "", "a/b:latest"],
    ["library/debian", "", "library/debian", "latest", "", "library/debian:latest"],
    ["localhost/a", "localhost", "a", "latest", "", "localhost/a:latest"],
    ["localhost:5000/a/b", "localhost:5000", "a/b", "latest", "", "localhost:5000/a/b:latest"],
    [`host.example:5000/a/b@${D}`, "host.example:5000", "a/b", "", D, `host.example:5000/a/b@${D}`],
    [`a:1@${D}`, "", "a", "1", D, `a:1@${D}`],
    ["host.example/debian:12", "host.example", "debian", "12", "", "host.example/debian:12"],
    [
      "host.example/library/debian",
      "host.example",
      "library/debian",
      "latest",
      "",
      "host.example/library/debian:latest",
    ],
    ["[::1]:5000/a", "[::1]:5000", "a", "latest", "", "[::1]:5000/a:latest"],
    ["HOST.example/a", "host.example", "a", "latest", "", "host.example/a:latest"],
    ["x/a__b-c.d/e--f:v1.0_x", "", "x/a__b-c.d/e--f", "v1.0_x", "", "x/a__b-c.d/e--f:v1.0_x"],
  ];
  for (const [text, host, path, tag, digest, name] of cases)
    assert.deepEqual(parseReference(text), { kind: "registry", host, path, tag, digest, name }, text);
});

test("debian names the image made of packages", () => {
  assert.deepEqual(parseReference("debian"), { kind: "debian", packages: [], name: "debian" });
  const packages = ["curl", "g++", "libc6.1-x"];
  const name = `debian:${packages.join(",")}`;
  assert.deepEqual(parseReference("debian:g++,curl,libc6.1-x,curl"), { kind: "debian", packages, name });
});

test("what names no image is refused with a sentence", () => {
  const texts = [
    "",
    "A",
    "a b",
    "-a",
    "a/",
    "/a",
    "a//b",
    "a:",
    "a:-",
    "a@sha256:12",
    `a@${D}@${D}`,
    `a@md5:${"0".repeat(32)}`,
    "../a",
    "a/../b",
    "host.example:port/a",
    "ho_st.example/a",
    "http://host.example/a",
    "debian:",
    "debian:a,,b",
    "debian:../x",
    "debian:Curl",
    `${"a/".repeat(200)}a`,
    "a\0b",
    `a:${"t".repeat(129)}`,
  ];
  for (const text of texts)
    assert.throws(
      () => parseReference(text),
      (error) =>
        error instanceof ImageError && error.code === "bad-reference" && /names no image: .*\.$/.test(error.message),
      text,
    );
});

test("an archive's debian is not the image made of packages", () => {
  assert.equal(archiveName("debian:12"), "library/debian:12");
  assert.equal(archiveName("debian"), "library/debian:latest");
  assert.equal(archiveName("host.example/debian:12"), "host.example/debian:12");
  assert.equal(archiveName("web"), "web:latest");
});

test("ids and their beginnings", () => {
  assert.equal(idDigits(D), D.slice(7));
  assert.equal(idDigits("0123456789ab"), "0123456789ab");
  assert.equal(idDigits("0123456789a"), undefined);
  assert.equal(idDigits("0123456789abXY"), undefined);
});
