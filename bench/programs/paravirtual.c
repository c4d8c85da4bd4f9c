/* paravirtual clock|copy SCALE: what features of the processor and of the hypervisor are there for: reading the clock, and copying memory in the C library
 * (which asks CPUID how) and in the kernel. */
#define _GNU_SOURCE
#include "bench.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Counts readings that run backwards: there must be none. */
static uint64_t read_clock(long n) {
    uint64_t backwards = 0, last = 0;
    for (long i = 0; i < n; i++) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t nanos = now.tv_sec * 1000000000u + now.tv_nsec;
        backwards += nanos < last;
        last = nanos;
    }
    return backwards;
}

static uint64_t copy(long n) {
    enum { SIZE = 1 << 18 };
    static uint8_t from[SIZE], to[SIZE];
    uint64_t sum = 0;
    int file = memfd_create("copy", 0);
    for (long i = 0; i < SIZE; i++) from[i] = (uint8_t)random_u64();
    if (file < 0 || write(file, from, SIZE) != SIZE) return 0;
    for (long i = 0; i < n; i++) {
        size_t size = (size_t)64 << i % 13, start = random_u64() & 63;
        if (start + size > SIZE) start = 0;
        memcpy(to + start, from, size);
        sum = mix(sum, to[start + size - 1]);
        memset(to, (int)i, size);
        if (pread(file, to, size, 0) != (ssize_t)size) return 0;
        sum = mix(sum, to[size / 2]);
    }
    return sum;
}

int main(int argc, char **argv) {
    int clock = argc > 1 && strcmp(argv[1], "clock") == 0;
    long n = (clock ? 15000 : 150) * bench_begin(clock ? "clock" : "copy", argc - 1, argv + 1);
    return bench_end_of(clock ? read_clock(n) : copy(n), n);
}
