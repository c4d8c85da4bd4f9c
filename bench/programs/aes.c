/* AES-128 in CBC mode by four tables of 32-bit words (FIPS 197), which the program makes itself: table look-ups, shifts, exclusive-or. */
#include "bench.h"

static uint8_t sbox[256];
static uint32_t table[4][256], schedule[44];

static uint8_t times2(uint8_t x) { return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b); }
static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void make_tables(void) {
    uint8_t p = 1, q = 1;
    do { /* p runs through the field by powers of 3, q through the inverses */
        p = (uint8_t)(p ^ times2(p));
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if (q & 0x80) q ^= 0x09;
        uint8_t r = (uint8_t)(q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4));
        sbox[p] = r ^ 0x63;
    } while (p != 1);
    sbox[0] = 0x63;
    for (int i = 0; i < 256; i++) {
        uint8_t s = sbox[i], s2 = times2(s);
        uint32_t word = (uint32_t)s2 | (uint32_t)s << 8 | (uint32_t)s << 16 | (uint32_t)(s2 ^ s) << 24;
        for (int k = 0; k < 4; k++) table[k][i] = k ? rotate(word, 8 * k) : word;
    }
}
static uint32_t substitute(uint32_t x) {
    return sbox[x & 255] | sbox[x >> 8 & 255] << 8 | sbox[x >> 16 & 255] << 16 | (uint32_t)sbox[x >> 24] << 24;
}
static void expand(const uint8_t key[16]) {
    uint8_t constant = 1;
    memcpy(schedule, key, 16);
    for (int i = 4; i < 44; i++) {
        uint32_t word = schedule[i - 1];
        if (i % 4 == 0) {
            word = substitute(rotate(word, 24)) ^ constant;
            constant = times2(constant);
        }
        schedule[i] = schedule[i - 4] ^ word;
    }
}
static void encrypt(uint32_t block[4]) {
    uint32_t s[4], t[4];
    for (int i = 0; i < 4; i++) s[i] = block[i] ^ schedule[i];
    for (int round = 1; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            t[i] = table[0][s[i] & 255] ^ table[1][s[(i + 1) & 3] >> 8 & 255] ^ table[2][s[(i + 2) & 3] >> 16 & 255] ^
                   table[3][s[(i + 3) & 3] >> 24] ^ schedule[4 * round + i];
        memcpy(s, t, sizeof s);
    }
    for (int i = 0; i < 4; i++)
        block[i] = (sbox[s[i] & 255] | sbox[s[(i + 1) & 3] >> 8 & 255] << 8 | sbox[s[(i + 2) & 3] >> 16 & 255] << 16 |
                    (uint32_t)sbox[s[(i + 3) & 3] >> 24] << 24) ^
                   schedule[40 + i];
}

int main(int argc, char **argv) {
    static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    long scale = bench_begin("aes", argc, argv);
    uint32_t block[4] = {0x33221100, 0x77665544, 0xbbaa9988, 0xffeeddcc};
    make_tables();
    expand(key);
    encrypt(block);
    /* FIPS 197, appendix C.1 */
    if (block[0] != 0xd8e0c469 || block[3] != 0x5ac5b470) return 1;
    uint64_t sum = 0;
    for (long i = 0; i < 5000 * scale; i++) {
        uint64_t r = random_u64();
        block[0] ^= (uint32_t)r;
        block[2] ^= (uint32_t)(r >> 32);
        encrypt(block);
    }
    sum = mix(mix(sum, block[0] | (uint64_t)block[1] << 32), block[2] | (uint64_t)block[3] << 32);
    return bench_end(sum);
}
