/* What each benchmark program shares: its scale (first argument, percent of the full size), a generator of pseudo-random numbers that is the same
 * everywhere, and the two lines it prints. bench/console.ts reads them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *bench_name;
static struct timespec bench_start;
static uint64_t random_state = 88172645463325252u;

/* xorshift64 */
static inline uint64_t random_u64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* @returns the scale in percent, at least 1 */
static inline long bench_begin(const char *name, int argc, char **argv) {
    long scale = argc > 1 ? atol(argv[1]) : 100;
    bench_name = name;
    printf("@begin %s\n", name);
    fflush(stdout);
    clock_gettime(CLOCK_MONOTONIC, &bench_start);
    return scale < 1 ? 1 : scale;
}

/* @param operations what the time is to be divided by, 0: nothing */
static inline int bench_end_of(uint64_t checksum, long operations) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long nanos = (now.tv_sec - bench_start.tv_sec) * 1000000000LL + now.tv_nsec - bench_start.tv_nsec;
    printf("@end %s %016llx %lld %ld\n", bench_name, (unsigned long long)checksum, nanos, operations);
    fflush(stdout);
    return 0;
}

static inline int bench_end(uint64_t checksum) { return bench_end_of(checksum, 0); }

/* Folds one value into a checksum (FNV-1a over 64-bit words). */
static inline uint64_t mix(uint64_t checksum, uint64_t value) {
    return (checksum ^ value) * 1099511628211u;
}
