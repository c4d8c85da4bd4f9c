/* An open-addressing hash table of 64-bit keys: inserts, finds, deletes with backward shifting. Scattered loads and stores. */
#include "bench.h"

enum { SIZE = 1 << 17, MASK = SIZE - 1 };
static uint64_t keys[SIZE], values[SIZE];

static inline uint64_t home(uint64_t key) {
    key ^= key >> 32;
    key *= 0x9e3779b97f4a7c15u;
    return key >> 47;
}
static uint64_t find(uint64_t key) {
    uint64_t at = home(key);
    while (keys[at] != 0 && keys[at] != key) at = (at + 1) & MASK;
    return at;
}
static void erase(uint64_t at) {
    uint64_t hole = at;
    for (uint64_t next = (hole + 1) & MASK; keys[next] != 0; next = (next + 1) & MASK) {
        if (((next - home(keys[next])) & MASK) < ((next - hole) & MASK)) continue;
        keys[hole] = keys[next];
        values[hole] = values[next];
        hole = next;
    }
    keys[hole] = 0;
}

int main(int argc, char **argv) {
    long scale = bench_begin("hash", argc, argv);
    uint64_t sum = 0, live = 0;
    for (long i = 0; i < 75000 * scale; i++) {
        uint64_t key = (random_u64() & 0x1ffff) + 1, at = find(key);
        if (keys[at] == 0) {
            if (live < SIZE * 3 / 4) keys[at] = key, values[at] = i, live++;
        } else if (values[at] & 1) {
            sum = mix(sum, values[at]);
            erase(at);
            live--;
        } else {
            values[at] += key;
            values[at] |= i & 1;
        }
    }
    return bench_end(mix(sum, live));
}
