/* What a kernel build needs of the host: programs on the PATH and headers that the compiler finds. Mere installs nothing: it names Debian's packages. */
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { runCommand } from "../command.ts";
import { KernelBuildError } from "./build-error.ts";

/** [program, Debian package] */
const PROGRAMS: readonly (readonly [string, string])[] = [
  ["gcc", "gcc"],
  ["make", "make"],
  ["flex", "flex"],
  ["bison", "bison"],
  ["bc", "bc"],
  ["ld", "binutils"],
  ["tar", "tar"],
  ["xz", "xz-utils"],
];
/** [header, Debian package]: for the build's own programs, among them objtool, which reads ELF files. */
const HEADERS: readonly (readonly [string, string])[] = [
  ["stdlib.h", "libc6-dev"],
  ["gelf.h", "libelf-dev"],
];

/** @throws KernelBuildError "tools-missing" with one sentence that names all packages to install */
export async function checkToolchain(): Promise<void> {
  const missing = await missingPackages();
  if (missing.length === 0) return;
  const last = missing.at(-1)!;
  const names = missing.length === 1 ? `package ${last}` : `packages ${missing.slice(0, -1).join(", ")} and ${last}`;
  throw new KernelBuildError(
    "tools-missing",
    `Building a kernel needs tools that this machine lacks: install the ${names} (as root: apt-get install ${missing.join(" ")}), or use Debian's kernel with --kernel debian.`,
  );
}

/** Debian's packages that are needed and not there. */
export async function missingPackages(): Promise<string[]> {
  const missing: string[] = [];
  for (const [program, name] of PROGRAMS) if (!(await isOnPath(program))) missing.push(name);
  // Only a compiler knows where it looks. Without one, its headers are asked for too: apt passes over what is there.
  for (const [header, name] of HEADERS) if (missing.includes("gcc") || !(await hasHeader(header))) missing.push(name);
  return missing;
}

async function isOnPath(program: string): Promise<boolean> {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const isThere = await access(join(directory, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (directory !== "" && isThere) return true;
  }
  return false;
}

async function hasHeader(header: string): Promise<boolean> {
  const { status } = await runCommand("gcc", ["-include", header, "-fsyntax-only", "-x", "c", "/dev/null"]);
  return status === 0;
}
