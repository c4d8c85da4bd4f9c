/* Host time as a number of nanoseconds, the same on all threads of the process to some tens of nanoseconds: less than one thread needs to tell another what it has
 * read, so that vCPUs on several threads never see time go back. */

// Bound, because the global is an accessor that takes as long as the clock itself.
const now = performance.now.bind(performance);
/** It counts from another moment on each thread. The difference to the clock of the process lies between what is read before and after it; the
 *  tightest bounds of many readings are kept. */
function difference(): number {
  let low = -Infinity;
  let high = Infinity;
  for (let i = 0; i < 500; i++) {
    const before = process.hrtime.bigint();
    const here = now() * 1e6;
    const after = process.hrtime.bigint();
    low = Math.max(low, Number(before) - here);
    high = Math.min(high, Number(after) - here);
  }
  return (low + high) / 2;
}
const origin = difference();

/** Nanoseconds of the host's monotonic clock. */
export const hostNanos = (): number => origin + now() * 1e6;
