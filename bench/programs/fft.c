/* Radix-2 fast Fourier transforms, there and back, of 4096 complex doubles. Twiddle factors come from a recurrence, not from the mathematics library,
 * whose choice of algorithm depends on the processor. */
#include "bench.h"
#include <math.h>

enum { N = 4096 };
static double re[N], im[N], cosine[N / 2], sine[N / 2];

static void make_twiddles(void) {
    /* Half-angle steps from cos π = -1 down to 2π/N. */
    double c = -1, s = 0;
    for (int n = 2; n < N; n *= 2) {
        double half = sqrt((1 + c) / 2);
        s = n == 2 ? 1 : s / (2 * half);
        c = half;
    }
    cosine[0] = 1;
    for (int i = 1; i < N / 2; i++) {
        cosine[i] = cosine[i - 1] * c - sine[i - 1] * s;
        sine[i] = sine[i - 1] * c + cosine[i - 1] * s;
    }
}
static void transform(double sign) {
    for (int i = 1, j = 0; i < N; i++) {
        int bit = N >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i];
            im[i] = im[j], im[j] = t;
        }
    }
    for (int half = 1; half < N; half *= 2)
        for (int start = 0; start < N; start += 2 * half)
            for (int k = 0; k < half; k++) {
                double c = cosine[k * (N / 2 / half)], s = sign * sine[k * (N / 2 / half)];
                int p = start + k, q = p + half;
                double x = re[q] * c - im[q] * s, y = re[q] * s + im[q] * c;
                re[q] = re[p] - x, im[q] = im[p] - y;
                re[p] += x, im[p] += y;
            }
}

int main(int argc, char **argv) {
    long scale = bench_begin("fft", argc, argv);
    uint64_t sum = 0;
    make_twiddles();
    for (int i = 0; i < N; i++) re[i] = (double)(int32_t)random_u64() / 65536;
    for (long round = 0; round < scale; round++) {
        transform(-1);
        transform(1);
        for (int i = 0; i < N; i++) re[i] /= N, im[i] /= N;
        uint64_t bits;
        memcpy(&bits, &re[round % N], 8);
        sum = mix(sum, bits);
    }
    return bench_end(sum);
}
