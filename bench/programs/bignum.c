/* Modular exponentiation of 1024-bit numbers by Montgomery's products: 64×64→128-bit multiply, add with carry. */
#include "bench.h"

enum { N = 16 };
typedef unsigned __int128 u128;

static uint64_t modulus[N], inverse;

static void product(uint64_t *r, const uint64_t *a, const uint64_t *b) {
    uint64_t t[N + 2] = {0};
    for (int i = 0; i < N; i++) {
        u128 carry = 0;
        for (int j = 0; j < N; j++) {
            carry += (u128)a[j] * b[i] + t[j];
            t[j] = (uint64_t)carry;
            carry >>= 64;
        }
        carry += t[N];
        t[N] = (uint64_t)carry;
        t[N + 1] = (uint64_t)(carry >> 64);
        uint64_t m = t[0] * inverse;
        carry = ((u128)m * modulus[0] + t[0]) >> 64;
        for (int j = 1; j < N; j++) {
            carry += (u128)m * modulus[j] + t[j];
            t[j - 1] = (uint64_t)carry;
            carry >>= 64;
        }
        carry += t[N];
        t[N - 1] = (uint64_t)carry;
        t[N] = t[N + 1] + (uint64_t)(carry >> 64);
    }
    uint64_t d[N], borrow = 0;
    for (int j = 0; j < N; j++) {
        u128 x = (u128)t[j] - modulus[j] - borrow;
        d[j] = (uint64_t)x;
        borrow = (uint64_t)(x >> 64) & 1;
    }
    memcpy(r, t[N] >= borrow ? d : t, N * 8);
}

int main(int argc, char **argv) {
    long scale = bench_begin("bignum", argc, argv);
    uint64_t base[N], result[N], sum = 0;
    for (int i = 0; i < N; i++) modulus[i] = random_u64(), base[i] = random_u64();
    modulus[0] |= 1;
    base[N - 1] >>= 1;
    modulus[N - 1] |= 1ull << 63;
    inverse = 1;
    for (int i = 0; i < 6; i++) inverse *= 2 - modulus[0] * inverse;
    inverse = -inverse;
    memcpy(result, base, sizeof base);
    for (long bit = 0; bit < 480 * scale; bit++) {
        product(result, result, result);
        if (modulus[bit / 64 % N] >> (bit & 63) & 1) product(result, result, base);
    }
    for (int i = 0; i < N; i++) sum = mix(sum, result[i]);
    return bench_end(sum);
}
