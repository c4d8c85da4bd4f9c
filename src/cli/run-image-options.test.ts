/* What the options of `mere run IMAGE` mean, and when the first word is an image. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { Command } from "commander";
import { resolveVmOptions } from "../host/vm-config.ts";
import { CliError } from "./cli-error.ts";
import {
  type ImageValues,
  type RunImageOptions,
  addImageOptions,
  imageOptionsGiven,
  resolveImageOptions,
} from "./run-image-options.ts";
import { type RunValues, addRunOptions } from "./run-options.ts";
import { isImageRun } from "./run.ts";

const directory = mkdtempSync(join(tmpdir(), "mere-options-"));
after(() => rmSync(directory, { recursive: true }));

interface Parsed {
  readonly isImage: boolean;
  readonly words: readonly string[];
  readonly values: RunValues & ImageValues;
}
function read(...words: string[]): Parsed {
  const parsed: Parsed[] = [];
  const program = new Command("mere")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const command = program.command("run");
  addImageOptions(addRunOptions(command)).action((rest: string[], values: RunValues & ImageValues) => {
    parsed.push({ isImage: isImageRun(command, rest, values), words: rest, values });
  });
  program.parse(["run", ...words], { from: "user" });
  return parsed[0];
}
function options(...words: string[]): RunImageOptions {
  const { isImage, words: rest, values } = read(...words);
  assert.ok(isImage);
  return resolveImageOptions(values, rest);
}
function mistake(...words: string[]): string {
  try {
    options(...words);
  } catch (error) {
    assert.ok(error instanceof CliError && error.code === "usage", String(error));
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

test("the first word is an image, unless it is behind --", () => {
  assert.equal(read("debian", "true").isImage, true);
  assert.equal(read("debian", "--", "true").isImage, true);
  assert.equal(read("--cpus", "2", "debian").isImage, true);
  assert.equal(read("--", "uname", "-a").isImage, false);
  assert.equal(read("--cpus", "2", "--", "uname").isImage, false);
  assert.equal(read("--console", "vi").isImage, false);
  assert.equal(read("--", "sh", "--", "x").isImage, false);
});

test("the command keeps its own words, with and without --", () => {
  assert.deepEqual(options("debian", "ls", "--name", "-it").vm.command, ["ls", "--name", "-it"]);
  assert.deepEqual(options("debian", "--", "ls", "--", "x").vm.command, ["ls", "--", "x"]);
  assert.deepEqual(options("debian").vm.command, []);
  assert.equal(options("debian:curl", "x").vm.image, "debian:curl");
});

test("options become a VM's", () => {
  const file = join(directory, "env");
  writeFileSync(file, "# comment\nA=1\n\nB=two words\n");
  const key = join(directory, "key.pub");
  writeFileSync(key, "ssh-ed25519 AAAA me\n");
  const { vm, detach } = options(
    "-d",
    "--name",
    "web",
    "--cpus",
    "2",
    "--memory",
    "1G",
    "-e",
    "B=2",
    "-e",
    "C=x=y",
    "--env-file",
    file,
    "-p",
    "8080:80",
    "-p",
    "53/udp",
    "-v",
    `${directory}:/data:ro`,
    "-w",
    "/srv",
    "-u",
    "www-data",
    "--hostname",
    "box",
    "--allow",
    "10.0.0.0/8",
    "--deny",
    "all",
    "--pull",
    "never",
    "--ssh-key",
    key,
    "--entrypoint",
    "/bin/x",
    "--timezone",
    "UTC",
    "--init",
    "img",
    "arg",
  );
  assert.equal(detach, true);
  assert.equal(options("--timeout", "1.5", "img").timeoutMs, 1500);
  const config = resolveVmOptions(vm);
  assert.deepEqual(config.env, { A: "1", B: "2", C: "x=y" });
  assert.deepEqual(config.entrypoint, ["/bin/x"]);
  assert.deepEqual(config.command, ["arg"]);
  assert.deepEqual(config.volumes, [{ host: resolve(directory), guest: "/data", readOnly: true }]);
  assert.deepEqual(
    config.ports.map(({ hostPort, guestPort }) => [hostPort, guestPort]),
    [
      [8080, 80],
      [0, 53],
    ],
  );
  assert.deepEqual(config.sshKeys, ["ssh-ed25519 AAAA me"]);
  assert.equal(config.memoryBytes, 1 << 30);
  assert.equal(config.ephemeral, false);
  assert.equal(config.logs, true);
  assert.equal(config.init, true);
});

test("in the foreground a VM leaves nothing, and its output is not kept", () => {
  const config = resolveVmOptions(options("debian", "true").vm);
  assert.equal(config.ephemeral, true);
  assert.equal(config.logs, false);
  assert.equal(resolveVmOptions(options("-d", "--rm", "debian").vm).ephemeral, true);
});

test("an empty entrypoint is none", () => assert.deepEqual(options("--entrypoint", "", "debian").vm.entrypoint, []));

describe("mistakes", () => {
  writeFileSync(join(directory, "key"), "-----BEGIN OPENSSH PRIVATE KEY-----\n");
  const cases: [string[], RegExp][] = [
    [["-d", "-i", "debian"], /nobody is there to type/],
    [["-d", "--timeout", "5", "debian"], /leave out --timeout/],
    [["--rm", "debian"], /leave out --rm/],
    [["--append", "x", "debian"], /--append goes without an image/],
    [["--pull", "often", "debian"], /"often" is none of/],
    [["-it", "debian"], /no terminal/],
    [["-e", "=x", "debian"], /no name/],
    [["-e", "SURELY_NOT_SET_HERE", "debian"], /not set here/],
    [["--env-file", "/no/file", "debian"], /ENOENT/],
    [["--ssh-key", join(directory, "key"), "debian"], /private key/],
    [["--timeout", "soon", "debian"], /no time/],
  ];
  for (const [words, expected] of cases) test(words.join(" "), () => assert.match(mistake(...words), expected));
});

test("options that need an image are named where there is none", () => {
  assert.deepEqual(imageOptionsGiven(read("--", "ls").values), []);
  assert.deepEqual(imageOptionsGiven(read("--env-file", join(directory, "env"), "-d", "--", "ls").values), [
    "--detach",
    "--env-file",
  ]);
});

test("in the background an init needs no command", () => {
  const commandOf = (...words: string[]): readonly string[] | null => resolveVmOptions(options(...words).vm).command;
  assert.equal(commandOf("-d", "--init", "debian:systemd-sysv"), null);
  assert.deepEqual(commandOf("-d", "--init", "debian", "true"), ["true"]);
  assert.deepEqual(commandOf("-d", "--init", "--entrypoint", "/bin/x", "debian"), []);
  assert.deepEqual(commandOf("-d", "debian"), []);
  assert.deepEqual(commandOf("--init", "debian"), []);
});
