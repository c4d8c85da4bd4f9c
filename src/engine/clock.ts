/* Host time as a number of nanoseconds, the same on all threads of the process. Exact to well under a microsecond for a century of uptime. */
const origin = Number(process.hrtime.bigint()) - performance.now() * 1e6;

/** Nanoseconds of the host's monotonic clock. */
export const hostNanos = (): number => origin + performance.now() * 1e6;
