/* Image and user together say what runs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { HostError } from "./host-error.ts";
import { type ImageDefaults, mainCommand, processDefaults } from "./main-process.ts";
import { type VmOptions, resolveVmOptions } from "./vm-config.ts";

const IMAGE: ImageDefaults = {
  entrypoint: ["/entry"],
  cmd: ["serve", "--all"],
  env: ["PATH=/opt/bin", "LANG=C", "EMPTY=", "=odd"],
  workingDir: "/srv",
  user: "web",
};
const words = (options: VmOptions, image = IMAGE): readonly string[] | undefined =>
  mainCommand(resolveVmOptions(options), image);

test("an empty command is the image's own", () =>
  assert.deepEqual(words({ command: [] }), ["/entry", "serve", "--all"]));
test("words replace the image's command, not its entrypoint", () =>
  assert.deepEqual(words({ command: ["ls", "-l"] }), ["/entry", "ls", "-l"]));
test("another entrypoint makes the image's command void", () => {
  assert.deepEqual(words({ command: [], entrypoint: ["/bin/sh"] }), ["/bin/sh"]);
  assert.deepEqual(words({ command: ["ls"], entrypoint: [] }), ["ls"]);
});
test("no command is no main process", () => assert.equal(words({}), undefined));
test("an image without a command needs one", () => {
  assert.throws(() => words({ command: [] }, { ...IMAGE, entrypoint: [], cmd: [] }), HostError);
});

test("the environment is the image's and the user's, with a PATH in any case", () => {
  const config = resolveVmOptions({ env: { LANG: "de", X: "1" } });
  const { env, user, workingDirectory } = processDefaults(config, IMAGE);
  assert.deepEqual(env, { PATH: "/opt/bin", LANG: "de", EMPTY: "", X: "1" });
  assert.equal(user, "web");
  assert.equal(workingDirectory, "/srv");
  const bare = processDefaults(resolveVmOptions({ user: "0:0" }), { ...IMAGE, env: [], workingDir: "", user: "" });
  assert.match(bare.env["PATH"], /\/usr\/bin/);
  assert.equal(bare.user, "0:0");
  assert.equal(bare.workingDirectory, "/");
});
