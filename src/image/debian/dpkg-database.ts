/* dpkg's database as `dpkg --unpack` leaves it: every package "install ok unpacked", none configured. dpkg --configure goes on from there.
 * @source dpkg's lib/dpkg/{dump,infodb-format,trigdeferred,triglib}.c, deb-triggers(5), dpkg(1) "FILES". A configuration file that is in its place without a
 * ".dpkg-new" beside it counts as installed (dpkg's configure.c, deferred_configure_conffile). */
import type { ControlFiles } from "./package-archive.ts";
import { entryHeader, fileEntry } from "./tar-writer.ts";
import type { UnpackedFiles } from "./unpacked-tree.ts";

const ADMIN = "./var/lib/dpkg";

export interface UnpackedPackage {
  readonly control: ControlFiles;
  readonly files: UnpackedFiles;
}

/** The database as entries of a tar archive. */
export function databaseEntries(packages: readonly UnpackedPackage[]): Buffer[] {
  const status = packages.map((entry) => `${statusStanza(entry)}\n`).join("");
  const entries = [
    directory(ADMIN),
    directory(`${ADMIN}/info`),
    directory(`${ADMIN}/parts`),
    directory(`${ADMIN}/triggers`),
    directory(`${ADMIN}/updates`),
    fileEntry(`${ADMIN}/status`, status),
    fileEntry(`${ADMIN}/available`, ""),
    fileEntry(`${ADMIN}/diversions`, ""),
    fileEntry(`${ADMIN}/statoverride`, ""),
    // Names of libraries carry their architecture.
    fileEntry(`${ADMIN}/info/format`, "1\n"),
  ];
  for (const { control, files } of packages) {
    const place = `${ADMIN}/info/${control.databaseName}`;
    entries.push(fileEntry(`${place}.list`, Buffer.from(files.list.map((path) => `${path}\n`).join(""), "latin1")));
    for (const [name, { content, mode }] of control.files) entries.push(fileEntry(`${place}.${name}`, content, mode));
  }
  for (const [name, lines] of triggerFiles(packages))
    entries.push(fileEntry(`${ADMIN}/triggers/${name}`, lines.map((line) => `${line}\n`).join("")));
  return entries;
}

function directory(path: string): Buffer {
  return entryHeader({ type: "directory", path: `${path}/`, mode: 0o755 });
}

/** @source dpkg's dump.c: the package's own fields, with Status after Package and Conffiles before the description's end */
function statusStanza({ control, files }: UnpackedPackage): string {
  const rest = control.control.replace(/^Package:.*\n?/im, "");
  const conffiles = [...files.conffiles].map(([path, digest]) => ` ${path} ${digest}\n`).join("");
  return `Package: ${control.name}\nStatus: install ok unpacked\n${rest}\n${conffiles === "" ? "" : `Conffiles:\n${conffiles}`}`;
}

/** Who is interested in what: paths are in one file, names have a file each. */
function triggerFiles(packages: readonly UnpackedPackage[]): Map<string, string[]> {
  const triggers = new Map<string, string[]>([
    ["File", []],
    ["Unincorp", []],
  ]);
  for (const { control } of packages) {
    const text = control.files.get("triggers")?.content.toString() ?? "";
    for (const line of text.split("\n")) {
      const parts = /^\s*interest(-await|-noawait)?\s+(\S+)\s*(?:#.*)?$/.exec(line);
      if (parts === null) continue;
      const [, option, name] = parts;
      const who = `${control.databaseName}${option === "-noawait" ? "/noawait" : ""}`;
      if (name!.startsWith("/")) triggers.get("File")!.push(`${name} ${who}`);
      // A name with a slash would be a path.
      else if (/^[\w+.:-]+$/.test(name!)) triggers.set(name!, [...(triggers.get(name!) ?? []), who]);
    }
  }
  return triggers;
}
