/* Sums and products of long double: the x87's 80-bit arithmetic, loads, stores and compares. */
#include "bench.h"

int main(int argc, char **argv) {
    long scale = bench_begin("long-double", argc, argv);
    long double pi = 0, e = 1, term = 1, x = 0.5L;
    for (long i = 0; i < 15000 * scale; i++) {
        pi += (i & 1 ? -4.0L : 4.0L) / (2 * i + 1);
        x = 3.9L * x * (1 - x);
        if (term > 1e-25L) e += term /= i + 1;
    }
    uint64_t sum = 0, bits[2] = {0};
    for (int i = 0; i < 3; i++) {
        memcpy(bits, i == 0 ? &pi : i == 1 ? &e : &x, 10);
        sum = mix(mix(sum, bits[0]), bits[1]);
    }
    return bench_end(sum);
}
