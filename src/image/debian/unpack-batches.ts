/* In which order packages are unpacked onto a system that runs: all at once, but for those that pre-depend on others. @source Debian Policy 7.2 "Pre-Depends",
 * deb-control(5). Leaves out versions: apt has chosen packages that fit. */
import type { ControlFiles } from "./package-archive.ts";

export interface Batch<P> {
  /** To be unpacked at once. */
  readonly packages: readonly P[];
  /** Of what was unpacked so far, what must be configured now because the next batch pre-depends on it; with the last batch all that is left. */
  readonly configure: readonly P[];
}

/** In the order in which they are unpacked. */
export function unpackBatches<P extends { readonly control: ControlFiles }>(packages: readonly P[]): Batch<P>[] {
  const graph = new Graph(packages.map(({ control }) => control));
  const byNumber: P[][] = [];
  for (const entry of packages) (byNumber[graph.batchOf(entry.control)] ??= []).push(entry);
  // Some numbers may be left out where packages pre-depend on each other.
  const batches = Object.values(byNumber);
  const unpacked = new Set<P>();
  return batches.map((batch, index) => {
    for (const entry of batch) unpacked.add(entry);
    const next = new Set((batches[index + 1] ?? []).flatMap(({ control }) => [...graph.before(control)]));
    const isLast = index === batches.length - 1;
    const configure = [...unpacked].filter(({ control }) => isLast || next.has(control));
    for (const entry of configure) unpacked.delete(entry);
    return { packages: batch, configure };
  });
}

class Graph {
  readonly #providers = new Map<string, ControlFiles[]>();
  readonly #batches = new Map<ControlFiles, number>();

  constructor(packages: readonly ControlFiles[]) {
    for (const entry of packages)
      for (const name of [entry.name, ...relations(entry, "Provides").flat()])
        this.#providers.set(name, [...(this.#providers.get(name) ?? []), entry]);
  }

  /** What must be configured before a package is unpacked. */
  before(entry: ControlFiles): Set<ControlFiles> {
    const before = this.#withDependencies(this.#targets(entry, "Pre-Depends"));
    before.delete(entry);
    return before;
  }
  batchOf(entry: ControlFiles): number {
    const known = this.#batches.get(entry);
    if (known !== undefined) return known;
    // Who pre-depends on itself by a way around comes no later for that.
    this.#batches.set(entry, 0);
    const batch = Math.max(-1, ...[...this.before(entry)].map((other) => this.batchOf(other))) + 1;
    this.#batches.set(entry, batch);
    return batch;
  }

  /** All that must be there for these to be configured, themselves included. */
  #withDependencies(entries: readonly ControlFiles[]): Set<ControlFiles> {
    const all = new Set(entries);
    // A set's loop also comes to what is added to it meanwhile.
    for (const entry of all)
      for (const kind of ["Pre-Depends", "Depends"] as const)
        for (const target of this.#targets(entry, kind)) all.add(target);
    return all;
  }

  #targets(entry: ControlFiles, kind: "Pre-Depends" | "Depends"): ControlFiles[] {
    return relations(entry, kind).flatMap((alternatives) =>
      alternatives.flatMap((name) => this.#providers.get(name) ?? []),
    );
  }
}

/** A field's packages: "a (>= 1), b:any | c" is [["a"], ["b", "c"]]. */
function relations({ control }: ControlFiles, field: string): string[][] {
  const text = new RegExp(`^${field}:((?:.*\\n[ \\t])*.*)$`, "im").exec(control)?.[1] ?? "";
  return text
    .split(",")
    .map((clause) => clause.split("|").flatMap((each) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(each)?.[1] ?? []));
}
