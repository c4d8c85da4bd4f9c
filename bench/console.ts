/* What the programs of a suite print, made into samples: "@begin NAME", "@end NAME CHECKSUM NANOSECONDS [OPERATIONS]", "@failed WHAT". Everything else (messages
 * of the kernel, say) is passed over. */

/** One line of the console. */
export interface ConsoleLine {
  readonly text: string;
  /** Since the process was started. */
  readonly wallMs: number;
  /** User and system time of all the process's threads; ticks of 10 ms. */
  readonly cpuMs: number;
  /** Guest instructions; only Mere tells them. */
  readonly retired: number | undefined;
}

/** One program's one run. */
export interface ProgramSample {
  /** By the guest's own clock. */
  readonly nanos: number;
  /** By the host's, and so with the two lines' way to the host. */
  readonly hostMs: number;
  /** Of the engine's process, all threads. */
  readonly cpuMs: number;
  readonly checksum: string;
  readonly retired: number | undefined;
  /** What the time is to be divided by, where the program counts operations. */
  readonly operations: number | undefined;
}

export type SuiteEvent =
  | { readonly kind: "sample"; readonly name: string; readonly sample: ProgramSample }
  | { readonly kind: "failed"; readonly what: string }
  | { readonly kind: "finished" };

/** Reads one run's lines in their order. */
export class SuiteReader {
  #begin: { readonly name: string; readonly line: ConsoleLine } | undefined;

  /** @returns what the line says, if it completes something */
  read(line: ConsoleLine): SuiteEvent | undefined {
    const [word, ...rest] = line.text.split(" ");
    const name = rest[0] ?? "";
    if (word === "@begin") this.#begin = { name, line };
    else if (word === "@end") return this.#end(name, rest.slice(1), line);
    else if (word === "@failed") return { kind: "failed", what: rest.join(" ") };
    else if (word === "@finished") return { kind: "finished" };
    return undefined;
  }

  #end(name: string, [checksum, nanos, operations]: readonly string[], line: ConsoleLine): SuiteEvent {
    const begin = this.#begin;
    this.#begin = undefined;
    // Lines of two programs, or of one and the kernel, have come into each other.
    if (begin?.name !== name || checksum === undefined || !(Number(nanos) > 0))
      return { kind: "failed", what: `${name} (its lines cannot be read: ${line.text})` };
    return {
      kind: "sample",
      name,
      sample: {
        nanos: Number(nanos),
        hostMs: line.wallMs - begin.line.wallMs,
        cpuMs: line.cpuMs - begin.line.cpuMs,
        checksum,
        retired: line.retired === undefined ? undefined : line.retired - begin.line.retired!,
        operations: Number(operations) > 0 ? Number(operations) : undefined,
      },
    };
  }
}
