/* The programs in ./guest-programs, run twice: by the host's processor and in a guest. Both runs take the very same binaries, those of a Debian root
 * disk: natively they run through the disk's own dynamic linker, so neither the host's distribution nor its versions matter. */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { runCommand } from "../../src/image/command.ts";

const run = promisify(execFile);

const SOURCES = new URL("./guest-programs/", import.meta.url).pathname;
/** What glibc and others choose by processor has other last bits with FMA than without; the guest's processor has neither AVX nor FMA. */
const HWCAPS = "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD,-AVX512ER";
/** Where e2fsprogs are, which is not on everybody's PATH. */
const SBIN = ["", "/usr/sbin/", "/sbin/"];

/** What a run printed, by program: both streams, then the exit status. */
export type Outputs = ReadonlyMap<string, Buffer>;

/** Runs a program of e2fsprogs. @returns its status and output; status -1 and no output if it is not there */
export async function e2fsprogs(program: string, ...args: string[]): Promise<{ status: number; output: string }> {
  for (const directory of SBIN) {
    const result = await runCommand(directory + program, args).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if (result !== undefined) return { status: result.status, output: result.stdout + result.stderr };
  }
  return { status: -1, output: "" };
}

/** Takes a folder out of an ext4 image. */
export async function copyFromDisk(disk: string, path: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  // Owners cannot be set without root, which debugfs reports and goes on.
  await e2fsprogs("debugfs", "-R", `rdump "${path}" "${directory}"`, disk);
}

/** Unpacks a root disk for native runs. @returns the environment for them */
export async function nativeRoot(disk: string, root: string): Promise<NodeJS.ProcessEnv> {
  await copyFromDisk(disk, "/", root);
  const wrappers = join(root, "native-bin");
  await mkdir(wrappers);
  const loader = join(root, "usr/lib64/ld-linux-x86-64.so.2");
  const libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib"].map((path) => join(root, path)).join(":");
  for (const name of await readdir(join(root, "usr/bin"))) {
    const wrapper = `#!/bin/sh\nexec "${loader}" --library-path "${libraries}" --argv0 ${name} "${join(root, "usr/bin", name)}" "$@"\n`;
    await writeFile(join(wrappers, name), wrapper, { mode: 0o755 });
  }
  return {
    PATH: wrappers,
    GLIBC_TUNABLES: HWCAPS,
    PYTHONHOME: join(root, "usr"),
    PERL5LIB: join(root, "usr/lib/x86_64-linux-gnu/perl-base"),
    OPENSSL_CONF: "/dev/null",
    OPENSSL_MODULES: join(root, "usr/lib/x86_64-linux-gnu/ossl-modules"),
  };
}

/** 32-bit xorshift, so that inputs are the same in each run. */
function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Half of it noise, half of it compressible. */
function binaryInput(length: number): Buffer {
  const random = randomWords(2463534242);
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4096)
    for (let i = at; i < Math.min(at + 4096, length); i++)
      data[i] = (at / 4096) % 2 === 0 ? random() : (i >> (random() % 3)) & 0x3f;
  return data;
}

function textInput(lines: number): string {
  const random = randomWords(88675123);
  const letters = "etaoinshrdlucmfwypvbgkjqxz";
  const word = (): string =>
    Array.from({ length: 1 + (random() % 9) }, () => letters[Math.min(random() % 26, random() % 26)]).join("");
  const words = Array.from({ length: 1500 }, word);
  const line = (): string =>
    Array.from({ length: 1 + (random() % 14) }, () => words[Math.min(random() % 1500, random() % 1500)]).join(" ");
  return `${Array.from({ length: lines }, line).join("\n")}\n`;
}

function numbersInput(lines: number): string {
  const random = randomWords(521288629);
  const line = (): string =>
    `${(random() - 2 ** 31) / 2 ** (random() % 40)} ${random() % 100000} ${(random() / 7).toExponential(4)}`;
  return `${Array.from({ length: lines }, line).join("\n")}\n`;
}

/** Fills a folder with what the programs read. @param environment of nativeRoot
 *  @returns whether the C program is there: it needs gcc on the host */
export async function makeInputs(
  directory: string,
  environment: NodeJS.ProcessEnv,
  binaryBytes: number,
): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "data.bin"), binaryInput(binaryBytes));
  await writeFile(join(directory, "text.txt"), textInput(2000));
  await writeFile(join(directory, "numbers.txt"), numbersInput(1500));
  const openssl = (...args: string[]): Promise<unknown> =>
    run(join(environment["PATH"]!, "openssl"), args, { cwd: directory, env: environment });
  await openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem");
  await openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem");
  await openssl("genpkey", "-algorithm", "ED25519", "-out", "ed25519.pem");
  await openssl("req", "-x509", "-key", "rsa.pem", "-subj", "/CN=guest", "-days", "36500", "-out", "certificate.pem");
  for (const name of ["program.py", "program.pl"]) await cp(join(SOURCES, name), join(directory, name));
  const options = ["-O2", "-msse4.2", "-frounding-math", "-static", "-pthread", "-w"];
  const compiled = await runCommand("gcc", [
    ...options,
    "-o",
    join(directory, "c-program"),
    join(SOURCES, "c-program.c"),
    "-lm",
  ]).catch(() => undefined);
  return compiled?.status === 0;
}

/** Makes the disk that the guest reads the programs from and writes their outputs to. */
export async function makeProgramDisk(image: string, inputs: string, sizeMib: number): Promise<void> {
  const tree = `${image}.tree`;
  await mkdir(join(tree, "outputs"), { recursive: true });
  await cp(SOURCES, join(tree, "programs"), { recursive: true });
  await cp(inputs, join(tree, "inputs"), { recursive: true });
  await chmod(join(tree, "programs/run.sh"), 0o755);
  const { status, output } = await e2fsprogs(
    "mke2fs",
    "-q",
    "-F",
    "-t",
    "ext4",
    "-E",
    "root_owner=0:0",
    "-d",
    tree,
    image,
    `${sizeMib}m`,
  );
  await rm(tree, { recursive: true });
  if (status !== 0) throw new Error(`mke2fs: ${output}`);
}

/** Runs the programs on the host. */
export async function runNatively(
  environment: NodeJS.ProcessEnv,
  inputs: string,
  outputs: string,
  names: readonly string[] = [],
): Promise<Outputs> {
  await mkdir(outputs, { recursive: true });
  await run("/bin/sh", [join(SOURCES, "run.sh"), inputs, outputs, ...names], { env: environment });
  return readOutputs(outputs);
}

/** @param directory what run.sh left */
export async function readOutputs(directory: string): Promise<Outputs> {
  const outputs = new Map<string, Buffer>();
  for (const file of (await readdir(directory)).sort())
    if (file.endsWith(".out")) {
      const name = basename(file, ".out");
      const status = await readFile(join(directory, `${name}.status`), "utf8").catch(() => "none");
      outputs.set(name, Buffer.concat([await readFile(join(directory, file)), Buffer.from(`exit status ${status}`)]));
    }
  return outputs;
}
