/* Quicksort with insertion sort for short pieces, then a bottom-up merge sort: compares, swaps and hardly predictable branches. */
#include "bench.h"

static void quick(uint32_t *a, long n) {
    while (n > 16) {
        uint32_t pivot = a[n / 2];
        long i = 0, j = n - 1;
        for (;;) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i >= j) break;
            uint32_t t = a[i];
            a[i++] = a[j];
            a[j--] = t;
        }
        quick(a, i);
        a += i;
        n -= i;
    }
    for (long i = 1; i < n; i++) {
        uint32_t value = a[i];
        long j = i;
        for (; j > 0 && a[j - 1] > value; j--) a[j] = a[j - 1];
        a[j] = value;
    }
}

static void merge(uint32_t *a, uint32_t *b, long n) {
    for (long width = 1; width < n; width *= 2) {
        for (long lo = 0; lo < n; lo += 2 * width) {
            long mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            long i = lo, j = mid;
            for (long k = lo; k < hi; k++) b[k] = i < mid && (j >= hi || a[i] <= a[j]) ? a[i++] : a[j++];
        }
        uint32_t *t = a;
        a = b;
        b = t;
    }
}

int main(int argc, char **argv) {
    long scale = bench_begin("sort", argc, argv), n = 8000 * scale;
    uint32_t *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *c = malloc(n * sizeof *c);
    for (long i = 0; i < n; i++) a[i] = b[i] = (uint32_t)random_u64();
    quick(a, n);
    merge(b, c, n);
    uint64_t sum = 0;
    for (long i = 0; i < n; i += 7) sum = mix(sum, a[i] ^ (uint64_t)b[i] << 32);
    return bench_end(sum);
}
