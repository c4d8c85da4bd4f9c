/* A real registry (Debian's docker-registry) on a loopback port, and images that real tools made. Each needs its Debian package; nothing is kept. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, symlink, writeFile, copyFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { runCommand } from "../../src/image/command.ts";

/** What the tests of images call. */
const TOOLS = ["docker-registry", "skopeo", "umoci", "buildah", "openssl"];

/** @returns why the tests cannot run here, or false */
export async function missingTools(): Promise<string | false> {
  for (const tool of TOOLS) {
    const found = await runCommand(tool, [tool === "openssl" ? "version" : "--version"]).catch(() => undefined);
    if (found === undefined) return `no ${tool} here`;
  }
  const busybox = await runCommand("/bin/busybox", ["true"]).catch(() => undefined);
  return busybox === undefined ? "no /bin/busybox here" : false;
}

/** Runs a tool with its state under `home`. @throws Error with what it said */
export async function tool(home: string, file: string, ...args: string[]): Promise<string> {
  const state =
    file === "buildah" ? ["--root", `${home}/storage`, "--runroot", `${home}/run`, "--storage-driver", "vfs"] : [];
  const policy = file === "skopeo" ? ["--insecure-policy"] : [];
  const env = ["-u", "DOCKER_CONFIG", `HOME=${home}`, `XDG_RUNTIME_DIR=${home}`, "BUILDAH_ISOLATION=chroot"];
  const result = await runCommand("env", [...env, file, ...policy, ...state, ...args]);
  if (result.status !== 0) throw new Error(`${file} ${args.join(" ")}: ${result.stderr || result.stdout}`);
  return result.stdout.trim();
}

/** A registry that runs until it is disposed of. */
export class DockerRegistry implements AsyncDisposable {
  /** "127.0.0.1:PORT" */
  readonly host: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, host: string) {
    this.#child = child;
    this.host = host;
  }

  /** @param auth docker-registry's "auth" section, as JSON holds it */
  static async start(directory: string, auth?: object): Promise<DockerRegistry> {
    await mkdir(directory, { recursive: true });
    const config = {
      version: 0.1,
      log: { level: "info", formatter: "json" },
      storage: { filesystem: { rootdirectory: join(directory, "data") } },
      http: { addr: "127.0.0.1:0", secret: "s" },
      ...(auth !== undefined && { auth }),
    };
    // JSON is YAML.
    await writeFile(join(directory, "config.yml"), JSON.stringify(config));
    const child = spawn("docker-registry", ["serve", join(directory, "config.yml")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      const host = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (host === undefined) continue;
      child.stderr.resume();
      return new DockerRegistry(child, host);
    }
    throw new Error(`docker-registry did not start: ${said.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "close");
    this.#child.kill();
    await ended;
  }
}

/** An OCI layout of two layers with busybox in it, under the tag "1", made by umoci. */
export async function makeLayout(home: string): Promise<string> {
  const root = join(home, "rootfs");
  await mkdir(join(root, "bin"), { recursive: true });
  await mkdir(join(root, "etc"));
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  await symlink("busybox", join(root, "bin/sh"));
  await writeFile(join(root, "etc/one"), "one");
  await writeFile(join(root, "etc/gone"), "gone");
  const layout = join(home, "layout");
  const image = `${layout}:1`;
  const umoci = (...args: string[]): Promise<string> => tool(home, "umoci", ...args);
  await umoci("init", "--layout", layout);
  await umoci("new", "--image", image);
  await umoci("insert", "--image", image, root, "/");
  await writeFile(join(home, "two"), "two");
  await umoci("insert", "--image", image, join(home, "two"), "/etc/two");
  await umoci("insert", "--image", image, "--whiteout", "/etc/gone");
  const settings = {
    entrypoint: "/bin/busybox",
    cmd: "sh",
    env: "A=1",
    user: "1:2",
    workingdir: "/etc",
    exposedports: "80/tcp",
    stopsignal: "SIGINT",
    label: "x=y",
  };
  await umoci(
    "config",
    "--image",
    image,
    ...Object.entries(settings).flatMap(([name, value]) => [`--config.${name}`, value]),
  );
  return layout;
}
