/* Products of matrices of doubles in the order that keeps rows together: SSE2 multiply and add. */
#include "bench.h"

enum { N = 96 };
static double a[N][N], b[N][N], c[N][N];

int main(int argc, char **argv) {
    long scale = bench_begin("matrix-float", argc, argv);
    uint64_t sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = (double)(random_u64() >> 40) / 1e7, b[i][j] = (double)(random_u64() >> 40) / 1e8;
    for (long round = 0; round * 4 < scale; round++) {
        memset(c, 0, sizeof c);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) {
                double x = a[i][k];
                for (int j = 0; j < N; j++) c[i][j] += x * b[k][j];
            }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) a[i][j] = c[i][j] / (1.0 + c[j][i] * c[j][i]);
        uint64_t bits;
        memcpy(&bits, &c[round % N][(round * 5) % N], 8);
        sum = mix(sum, bits);
    }
    return bench_end(sum);
}
