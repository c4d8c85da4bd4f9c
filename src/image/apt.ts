/* Debian packages through the host's apt-get, without root: apt's state and cache are in a private directory, its sources and keys are read as they
 * are (on a host that is not Debian: Debian stable). apt checks the signatures. One Apt serves one pull and its directory is thrown away afterwards.
 * @source apt.conf(5), apt-get(8), apt's README.progress-reporting. Leaves out installing: nothing on the host changes. */
import { constants, mkdtemp, mkdir, readFile, readdir, rename, rm, writeFile, access } from "node:fs/promises";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import { runCommand } from "./command.ts";
import { PackageError } from "./package-error.ts";

/** @param done,total percent within the phase, or steps; done ≤ total */
export type PullProgress = (phase: "lists" | "download" | "unpack", done: number, total: number) => void;

/** One stanza of the package lists. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly depends: readonly string[];
}

/** A package that is to be downloaded. */
export interface ResolvedPackage {
  readonly name: string;
  readonly version: string;
  readonly sizeBytes: number;
}

/** An index of packages that apt reads. */
export interface PackageSource {
  /** The archive's URL. */
  readonly uri: string;
  /** "bookworm-updates" */
  readonly suite: string;
  /** "main" */
  readonly component: string;
  /** Who made it, as its signed Release file tells: "Debian". */
  readonly origin: string;
}

export interface AptOptions {
  readonly onProgress?: PullProgress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What a user may do instead, for sentences. */
  readonly otherwise?: string | undefined;
}

export interface FetchedPackage {
  readonly name: string;
  readonly version: string;
  readonly path: string;
}

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Names a Debian mirror (an archive's URL) for hosts whose own apt has no Debian source. */
const MIRROR_VARIABLE = "MERE_DEBIAN_MIRROR";
const OTHER_KERNEL = "give a kernel with --kernel FILE";
/** A host's hooks (docker's images delete packages in theirs) are not for this private state. */
const CLEARED_HOOKS = [
  "APT::Update::Pre-Invoke",
  "APT::Update::Post-Invoke",
  "APT::Update::Post-Invoke-Success",
  "APT::Architectures",
];

export class Apt {
  readonly #directory: string;
  readonly #options: string[];
  readonly #onProgress: PullProgress | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #otherwise: string;
  /** What `update` complained of: tells "no network" from "no such package". */
  #updateComplaints = "";

  private constructor(directory: string, args: string[], options: AptOptions) {
    this.#directory = directory;
    this.#options = args;
    this.#onProgress = options.onProgress;
    this.#signal = options.signal;
    this.#otherwise = options.otherwise ?? OTHER_KERNEL;
  }

  /** Sets up private state under `directory` and reads the package lists (some seconds). @throws PackageError */
  static async open(directory: string, options: AptOptions = {}): Promise<Apt> {
    for (const part of ["state/lists/partial", "cache/archives/partial", "log"])
      await mkdir(join(directory, part), { recursive: true });
    const status = join(directory, "status");
    await writeFile(status, "");
    const configuration = join(directory, "apt.conf");
    await writeFile(configuration, CLEARED_HOOKS.map((name) => `#clear ${name};\n`).join(""));
    const settings: Record<string, string> = {
      "Dir::State": join(directory, "state"),
      "Dir::State::status": status,
      "Dir::Cache": join(directory, "cache"),
      "Dir::Cache::archives": "archives/",
      "Dir::Cache::pkgcache": "pkgcache.bin",
      "Dir::Cache::srcpkgcache": "",
      "Dir::Log": join(directory, "log"),
      "APT::Sandbox::User": userInfo().username,
      "APT::Architecture": "amd64",
      "APT::Architectures::": "amd64",
      "APT::Install-Recommends": "false",
      "APT::Get::Assume-Yes": "true",
      "APT::Keep-Downloaded-Packages": "true",
      "APT::Status-Fd": "3",
      "Acquire::Languages": "none",
      "Acquire::Retries": "2",
    };
    if (!(await hasDebianSources())) {
      settings["Dir::Etc::sourcelist"] = await ownSources(directory, options.otherwise ?? OTHER_KERNEL);
      settings["Dir::Etc::sourceparts"] = "/dev/null";
    }
    const args = [
      "-q",
      "-c",
      configuration,
      ...Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
    ];
    const apt = new Apt(directory, args, options);
    // A source that cannot be read (a third party's, say) is no error as long as the packages asked for are in the others.
    apt.#updateComplaints = (await apt.#run("apt-get", ["update"], "lists")).stderr;
    return apt;
  }

  /** What the lists say of a package's newest version. @throws PackageError if there is none */
  async show(name: string): Promise<PackageRecord> {
    const result = await this.#run("apt-cache", ["show", "--no-all-versions", name]);
    const fields = parseStanza(result.stdout);
    const version = fields.get("version");
    if (result.status !== 0 || version === undefined)
      throw this.#failure(`${this.#updateComplaints}\nE: Unable to locate package ${name}`, [name]);
    const depends = (fields.get("depends") ?? "").split(/\s*,\s*/).map((entry) => entry.split(/[\s(|:]/)[0]!);
    return { name, version, depends: depends.filter((entry) => entry !== "") };
  }

  /** Does apt know a package of that name that can be installed? */
  async has(name: string): Promise<boolean> {
    const result = await this.#run("apt-cache", ["show", "--no-all-versions", name]);
    return result.status === 0 && parseStanza(result.stdout).has("version");
  }

  /** Packages with all that they depend on, on a system without any, in an order in which they can be unpacked.
   *  @param names packages or patterns, as "?essential" (apt-patterns(7)) @throws PackageError */
  async resolve(names: readonly string[]): Promise<ResolvedPackage[]> {
    const result = await this.#run("apt-get", ["install", "--print-uris", "-qq", ...names]);
    if (result.status !== 0) throw this.#failure(`${result.stderr}\n${this.#updateComplaints}`, names);
    // 'URI' FILE SIZE HASH
    return [...result.stdout.matchAll(/^'[^']*' (\S+)_(\S+)_\w+\.deb (\d+)/gm)].map(([, name, version, size]) => ({
      name: name!,
      version: decodeURIComponent(version!),
      sizeBytes: Number(size),
    }));
  }

  /** The indexes of packages that apt reads, as their signed Release files tell of them. */
  async sources(): Promise<PackageSource[]> {
    const format = "$(CREATED_BY)\t$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)";
    const result = await this.#run("apt-get", ["indextargets", "--format", format]);
    return result.stdout.split("\n").flatMap((line) => {
      const [kind, uri, suite, component, origin] = line.split("\t");
      return kind === "Packages" ? { uri: uri!, suite: suite!, component: component!, origin: origin! } : [];
    });
  }

  /** Downloads packages without or with all that they depend on, checked against the signed lists.
   *  @param into a directory, which may have some of the files already; default: inside the private directory
   *  @returns the .deb files of the directory @throws PackageError */
  async download(
    names: readonly string[],
    withDependencies: boolean,
    into = join(this.#directory, "cache/archives"),
  ): Promise<FetchedPackage[]> {
    await mkdir(join(into, "partial"), { recursive: true });
    const args = withDependencies
      ? ["install", "--download-only", "-o", `Dir::Cache::archives=${into}/`, ...names]
      : ["download", ...names];
    const result = await this.#run("apt-get", args, "download", into);
    if (result.status !== 0) throw this.#failure(`${result.stderr}\n${this.#updateComplaints}`, names);
    const files = (await readdir(into)).filter((file) => file.endsWith(".deb")).sort();
    return files.map((file) => {
      const [name, version] = decodeURIComponent(file).split("_");
      return { name: name!, version: version!, path: join(into, file) };
    });
  }

  async #run(
    program: string,
    args: readonly string[],
    phase?: "lists" | "download",
    cwd = this.#directory,
  ): ReturnType<typeof runCommand> {
    let farthest = 0;
    const onStatusLine = (line: string): void => {
      const percent = /^dlstatus:[^:]*:([\d.]+):/.exec(line)?.[1];
      if (percent === undefined || phase === undefined) return;
      // apt learns of more to fetch as it goes; a bar does not run backwards.
      farthest = Math.max(farthest, Math.min(100, Number(percent)));
      this.#onProgress?.(phase, farthest, 100);
    };
    try {
      const result = await runCommand(program, [...this.#options, ...args], {
        cwd,
        signal: this.#signal,
        onStatusLine,
      });
      if (phase !== undefined && result.status === 0) this.#onProgress?.(phase, 100, 100);
      return result;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      throw new PackageError(
        "apt-missing",
        `${program} was not found: kernels, tools and images come from Debian's packages; install apt, or ${this.#otherwise}.`,
        { cause: error },
      );
    }
  }

  #failure(output: string, names: readonly string[]): PackageError {
    return aptFailure(output, names, this.#otherwise);
  }
}

/** Turns apt's complaints into one sentence. Space comes before network, and network before "unknown": each makes the later ones appear too. */
export function aptFailure(output: string, names: readonly string[], otherwise = OTHER_KERNEL): PackageError {
  const what = names.filter((name) => !name.startsWith("?")).join(", ");
  if (/No space left on device|enough free space/.test(output))
    return new PackageError(
      "no-space",
      `There is no space left for the package lists and ${what}; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
    );
  if (
    /Could not resolve|Temporary failure resolving|Could not connect|Connection (refused|timed out|failed|reset)|Unable to connect|Network is unreachable|Failed to fetch/i.test(
      output,
    )
  )
    return new PackageError(
      "no-network",
      `Debian's package servers could not be reached for ${what}; check the network or apt's proxy settings, or ${otherwise}.`,
    );
  if (/Unable to locate package|No packages found|no installation candidate|Can't select candidate/.test(output))
    return new PackageError(
      "unknown-package",
      `apt knows no package ${what} for amd64; add a Debian source to apt, or ${otherwise}.`,
    );
  const last = output.split("\n").findLast((line) => line.startsWith("E: ")) ?? "E: it gave no reason";
  return new PackageError(
    "failed",
    `apt could not fetch ${what} (${last.slice(3).trim()}); see whether "apt-get update" works, or ${otherwise}.`,
  );
}

/** RFC-822-like fields of the first stanza, names in lower case, continuation lines joined. */
function parseStanza(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of text.split("\n")) {
    if (line === "" && fields.size > 0) break;
    const field = /^([^:\s]+):\s*(.*)$/.exec(line);
    if (field) fields.set((last = field[1]!.toLowerCase()), field[2]!);
    else if (last !== "") fields.set(last, `${fields.get(last)!} ${line.trim()}`);
  }
  return fields;
}

/** Is the host a Debian with sources of its own? */
async function hasDebianSources(): Promise<boolean> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  if (!/^ID="?debian"?$/m.test(release)) return false;
  const parts = await readdir("/etc/apt/sources.list.d").catch(() => []);
  if (parts.some((file) => /\.(list|sources)$/.test(file))) return true;
  return /^\s*deb\s/m.test(await readFile("/etc/apt/sources.list", "utf8").catch(() => ""));
}

/** A list of sources for a host whose apt has none of Debian. @returns its path @throws PackageError "no-sources", "no-keys" */
async function ownSources(directory: string, otherwise: string): Promise<string> {
  const mirror = process.env[MIRROR_VARIABLE];
  if (!mirror) {
    throw new PackageError(
      "no-sources",
      `this machine's apt has no Debian source; name a Debian mirror in the variable ${MIRROR_VARIABLE}, or ${otherwise}.`,
    );
  }
  await access(KEYRING, constants.R_OK).catch(() => {
    throw new PackageError(
      "no-keys",
      `Debian's archive keys are not installed; install the package debian-archive-keyring, or ${otherwise}.`,
    );
  });
  const path = join(directory, "sources.list");
  await writeFile(path, `deb [signed-by=${KEYRING}] ${mirror} stable main\n`);
  return path;
}

/** Fetches packages, with all that they depend on if asked, into `directory`.
 *  @returns the .deb files, which are the caller's @throws PackageError */
export async function fetchPackages(
  names: readonly string[],
  options: { directory: string; dependencies?: boolean; onProgress?: PullProgress; signal?: AbortSignal },
): Promise<FetchedPackage[]> {
  await mkdir(options.directory, { recursive: true });
  const temporary = await mkdtemp(join(options.directory, ".apt-"));
  try {
    const apt = await Apt.open(temporary, options);
    const fetched: FetchedPackage[] = [];
    for (const file of await apt.download(names, options.dependencies ?? false)) {
      const path = join(options.directory, basename(file.path));
      await rename(file.path, path);
      fetched.push({ ...file, path });
    }
    return fetched;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
