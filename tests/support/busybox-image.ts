/* A small image for tests of VMs: busybox, some users, and a configuration with everything that an image can say. Made in the form that `docker save` writes. */
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busyboxApplets } from "../../src/image/busybox.ts";
import { runCommand } from "../../src/image/command.ts";
import { ensureBusybox } from "../../src/image/kernel.ts";
import { runMere } from "./mere.ts";

const PASSWD = `root:x:0:0:root:/root:/bin/sh
user:x:1000:1000::/home/user:/bin/sh
`;
const GROUP = `root:x:0:
user:x:1000:
audio:x:29:user
`;

/** Places of its own for a test's VMs, with the image "box" in them. Remove `directory` at the end. */
export interface TestPlaces {
  readonly directory: string;
  /** For `mere` and programs with the SDK. */
  readonly env: Record<string, string>;
}

async function layer(work: string): Promise<string> {
  const root = join(work, "root");
  for (const path of ["bin", "etc", "root", "tmp", "home/user", "srv/www"])
    await mkdir(join(root, path), { recursive: true });
  await copyFile(await ensureBusybox(), join(root, "bin/busybox"));
  for (const applet of busyboxApplets(await readFile(join(root, "bin/busybox"))))
    if (applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
  await writeFile(join(root, "etc/passwd"), PASSWD);
  await writeFile(join(root, "etc/group"), GROUP);
  await writeFile(join(root, "srv/www/index.html"), "<p>served by a VM\n");
  const tar = join(work, "layer.tar");
  const owners = ["--owner=0", "--group=0", "--numeric-owner"];
  const { status, stderr } = await runCommand("tar", ["-C", root, ...owners, "-cf", tar, "."]);
  if (status !== 0) throw new Error(stderr);
  return tar;
}

/** Makes the places and imports the image. */
export async function boxPlaces(): Promise<TestPlaces> {
  const directory = await mkdtemp(join(tmpdir(), "mere-vms-"));
  const env = { XDG_STATE_HOME: join(directory, "state"), XDG_DATA_HOME: join(directory, "data") };
  const work = join(directory, "work");
  await mkdir(work);
  const tar = await layer(work);
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: {
      Entrypoint: ["/bin/sh", "-c", 'exec "$@"', "entry"],
      Cmd: ["echo", "the image's own command"],
      Env: ["PATH=/bin", "GREETING=hello"],
      WorkingDir: "/work/here",
      StopSignal: "SIGUSR1",
    },
    rootfs: {
      type: "layers",
      diff_ids: [
        `sha256:${createHash("sha256")
          .update(await readFile(tar))
          .digest("hex")}`,
      ],
    },
  });
  const save = join(work, "save");
  await mkdir(save);
  await copyFile(tar, join(save, "layer.tar"));
  await writeFile(join(save, "config.json"), config);
  const manifest = [{ Config: "config.json", RepoTags: ["box:latest"], Layers: ["layer.tar"] }];
  await writeFile(join(save, "manifest.json"), JSON.stringify(manifest));
  const archive = join(work, "box.tar");
  await runCommand("tar", ["-C", save, "-cf", archive, "."]);
  const { status, stderr } = await runMere(["image", "import", archive, "--name", "box"], { env });
  if (status !== 0) throw new Error(stderr);
  await rm(work, { recursive: true });
  return { directory, env };
}
