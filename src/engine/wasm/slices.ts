/* How long a vCPU runs between looks at the clock and at what other threads want. */
import type { HostSources } from "../engine.ts";

/** Instructions: some tens of microseconds. Where nothing is translated those are fewer, and more looks find sooner what is hot. */
const SLICE = 20_000;
const SLICE_INTERPRETED = 4000;
/** A look costs a microsecond or two. While no timer is near, those who want something sooner say so by ATTENTION. */
const SLICE_QUIET = 100_000;
/** Instructions that surely take longer than a nanosecond, each. */
const QUIET_PER_NS = 0.3;

export class Slices {
  readonly #host: HostSources;
  /** Of the fuel of a slice that an interrupt ended early, what is left for the next: where it is used up is looked at, also in a guest that is interrupted more often. */
  #fuel = SLICE;
  /** Host time of the vCPU's timer; Infinity: none. */
  #timer = Infinity;

  constructor(host: HostSources) {
    this.#host = host;
  }
  /** Before each slice. @param deadline Reg.DEADLINE  @returns has it passed? */
  isOver(deadline: bigint): boolean {
    this.#timer = deadline < 0n ? Infinity : Number(deadline);
    return deadline >= 0n && this.#host.nanos() >= this.#timer;
  }
  /** Is this before what the slice that runs was made for? */
  isSooner(deadline: bigint): boolean {
    return deadline >= 0n && Number(deadline) < this.#timer;
  }
  /** Instructions of a slice that begins now. @param untilNs host time when it has to end  @param samples are slices to end often, to see what is hot? */
  fuel(untilNs: number, samples: boolean): number {
    if (this.#fuel < SLICE || samples) return this.#fuel;
    const next = Math.min(this.#timer, untilNs);
    if (next === Infinity) return SLICE_QUIET;
    const quiet = (next - this.#host.nanos()) * QUIET_PER_NS;
    return Math.max(SLICE, Math.min(quiet, SLICE_QUIET)) | 0;
  }
  /** A slice has ended. @param rest its fuel that is left, or negative  @param look asks whether all here is translated, or never will be */
  ended(rest: number, look: () => boolean): void {
    this.#fuel = rest > 0 ? rest : rest < 0 && look() ? SLICE : SLICE_INTERPRETED;
  }
}
