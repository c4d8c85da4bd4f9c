/* What can be chosen about translation: plain data, for threads that do not translate as well. @source docs/translator.md */

/** Optimizations that can be switched off one by one (tests compare with and without). */
export interface RegionPasses {
  /** Conditions from the operands of the last flag-setting instruction instead of from the lazy pair. */
  readonly fusedConditions: boolean;
  /** A TLB entry found for a base register is kept for the next access through it. */
  readonly pageReuse: boolean;
  /** Accesses at known distances on the stack are checked together. */
  readonly stackSpans: boolean;
  /** Direct calls are followed into the callee, and its return is a comparison. */
  readonly inlineCalls: boolean;
  /** Indirect jumps and calls are followed to where they went before, each behind a comparison. */
  readonly guessTargets: boolean;
  /** A callee that is in the region once compares its return address with those behind its calls. */
  readonly knownReturns: boolean;
  /** Scalar and packed floating point on host floats behind one check of the mode. */
  readonly fastFloat: boolean;
}
export const ALL_PASSES: RegionPasses = {
  fusedConditions: true,
  pageReuse: true,
  stackSpans: true,
  inlineCalls: true,
  guessTargets: true,
  knownReturns: true,
  fastFloat: true,
};

export interface RegionOptions {
  readonly passes: RegionPasses;
  /** Several vCPUs run at once: LOCK is a compare-and-swap. */
  readonly parallel: boolean;
}

export interface RegionLimits {
  /** Times that a place is seen before it is translated; 0: what runs at all; Infinity: never. */
  readonly threshold: number;
  /** Of one region when it is first made. */
  readonly instructions: number;
  readonly pages: number;
  /** Regions under way at once. */
  readonly pending: number;
  /** After so many slices, some seconds of a busy vCPU, it is forgotten what was seen where and left alone: frames have other code by and by. */
  readonly memory: number;
  /** Memory for translated code: of a machine, which its executors and its translator share, and where there is no machine of the one executor. */
  readonly codeCacheBytes: number;
}
export const REGION_LIMITS: RegionLimits = {
  threshold: 4,
  instructions: 80,
  pages: 24,
  pending: 16,
  memory: 16_384,
  codeCacheBytes: 256 * 2 ** 20,
};
