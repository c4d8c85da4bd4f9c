/* Products of matrices of 32-bit integers with 64-bit sums: multiply, add, strided loads. */
#include "bench.h"

enum { N = 128 };
static int32_t a[N][N], b[N][N];
static int64_t c[N][N];

int main(int argc, char **argv) {
    long scale = bench_begin("matrix-int", argc, argv);
    uint64_t sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = (int32_t)random_u64(), b[i][j] = (int32_t)random_u64();
    for (long round = 0; round * 2 < scale; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int64_t dot = 0;
                for (int k = 0; k < N; k++) dot += (int64_t)a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) a[i][j] ^= (int32_t)(c[j][i] >> 16);
        sum = mix(sum, (uint64_t)c[round % N][(round * 7) % N]);
    }
    return bench_end(sum);
}
