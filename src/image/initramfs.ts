/* The initramfs of `mere run`: busybox, kernel modules and an init that runs one command and reports its exit status (see ./init).
 * Not compressed: the kernel would spend guest cycles on it. Called once per run, before boot. */
import { readFileSync } from "node:fs";
import { busyboxApplets } from "./busybox.ts";
import { CpioWriter } from "./cpio.ts";
import type { KernelModule } from "./kernel.ts";

/** Input that is piped to the command travels inside the initramfs, which must fit into low memory twice. */
export const LARGEST_STDIN = 64 * 1024 * 1024;

/** What the command's standard input is: the terminal (with line editing, ^C and job control), given bytes and then the end, or nothing. */
export type CommandInput = "terminal" | "none" | Uint8Array;

export interface InitramfsOptions {
  /** A static busybox, at least with sh, mount, insmod, stty, setsid, chroot, switch_root, poweroff. */
  readonly busybox: Uint8Array;
  /** In load order. */
  readonly modules: readonly KernelModule[];
  /** Program and arguments; undefined: the root disk's /sbin/init, or a shell. */
  readonly command: readonly string[] | undefined;
  /** Added to PATH, HOME=/root and TERM=linux. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin: CommandInput;
  /** The run's secret word (letters and digits) in the exit record. */
  readonly token: string;
  readonly hostname?: string;
  /** The device that carries the command's output (and input); the serial port if it is not there. */
  readonly terminal?: "hvc0" | "ttyS0";
  /** Its size at the start: a serial port has none, and the virtio console's driver sets it some time after it was opened. */
  readonly terminalSize?: { readonly columns: number; readonly rows: number } | undefined;
  /** The disk to run in; a root= on the kernel's command line goes before it. Neither: the initramfs itself is the root. */
  readonly root?: { readonly device: string; readonly fstype: string };
}

/** Builds the archive. @throws RangeError when the input is larger than LARGEST_STDIN, or something cannot be a word in the guest */
export function buildInitramfs(options: InitramfsOptions): Uint8Array {
  const cpio = new CpioWriter();
  for (const path of [
    "bin",
    "dev",
    "etc",
    "proc",
    "root",
    "run",
    "sys",
    "usr",
    "var",
    ".mere",
    ".mere/modules",
    ".mere/root",
  ])
    cpio.directory(path);
  cpio.directory("tmp", 0o1777);
  cpio.symlink("sbin", "bin");
  cpio.symlink("usr/bin", "../bin");
  cpio.symlink("usr/sbin", "../bin");
  cpio.characterDevice("dev/console", 5, 1);
  cpio.characterDevice("dev/null", 1, 3, 0o666);
  cpio.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  cpio.file("etc/group", "root:x:0:\nnogroup:x:65534:\n");
  cpio.file("etc/hosts", `127.0.0.1 localhost ${options.hostname ?? ""}\n`);
  cpio.file("bin/busybox", options.busybox, 0o755);
  for (const applet of busyboxApplets(options.busybox))
    if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  for (const module of options.modules) cpio.file(`.mere/modules/${module.name}.ko`, module.data);
  cpio.file(".mere/config", configuration(options), 0o600);
  cpio.file(".mere/command", options.command === undefined ? "" : `set -- ${options.command.map(quote).join(" ")}\n`);
  const environment = Object.entries(options.environment ?? {});
  cpio.file(
    ".mere/environment",
    environment.map(([name, value]) => `export ${variableName(name)}=${quote(value)}\n`).join(""),
  );
  if (options.stdin instanceof Uint8Array) {
    if (options.stdin.length > LARGEST_STDIN)
      throw new RangeError(
        `The input has ${options.stdin.length} bytes, but at most ${LARGEST_STDIN} can be piped in; put it on a disk with --disk.`,
      );
    cpio.file(".mere/stdin", options.stdin);
  }
  cpio.file("init", initScript(), 0o755);
  return cpio.finish();
}

function configuration(options: InitramfsOptions): string {
  const values = {
    TOKEN: options.token,
    HOST: options.hostname ?? "mere",
    MODULES: options.modules.map(({ name }) => name).join(" "),
    TERMINAL: options.terminal ?? "hvc0",
    SIZE:
      options.terminalSize === undefined
        ? ""
        : `rows ${options.terminalSize.rows} cols ${options.terminalSize.columns}`,
    STDIN: options.stdin === "terminal" ? "terminal" : "file",
    ROOT: options.root?.device ?? "",
    ROOTFSTYPE: options.root?.fstype ?? "",
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join("");
}

/** One word of a POSIX shell, whatever is in it. */
function quote(text: string): string {
  if (text.includes("\0")) throw new RangeError("Arguments and variables of a command cannot contain NUL bytes.");
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function variableName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    throw new RangeError(`"${name}" cannot be an environment variable's name; use letters, digits and underscores.`);
  return name;
}

let cachedInit: Uint8Array | undefined;
function initScript(): Uint8Array {
  return (cachedInit ??= readFileSync(new URL("./init", import.meta.url)));
}
