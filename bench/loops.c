/* Loops for bench/loops.ts: linked to a flat file at 0x10000, run in a small guest without an operating system. (RDI: which loop, RSI: rounds) → RAX: checksum; ends in HLT. */
#include <stdint.h>

static void *const data = (void *)0x10000000;
static uint64_t state = 88172645463325252u;

static uint64_t run(int which, long rounds);

__attribute__((naked, used)) void start(void) { __asm__("call run_loop\n\thlt"); }
__attribute__((used)) uint64_t run_loop(int which, long rounds) { return run(which, rounds); }

static inline uint64_t random_u64(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

__attribute__((noinline)) static void quicksort(uint32_t *a, long low, long high) {
    while (low < high) {
        uint32_t pivot = a[(low + high) >> 1];
        long i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i > j) break;
            uint32_t t = a[i];
            a[i++] = a[j];
            a[j--] = t;
        }
        if (j - low < high - i) quicksort(a, low, j), low = i;
        else quicksort(a, i, high), high = j;
    }
}
static uint64_t sort(long rounds) {
    uint32_t *a = data;
    uint64_t sum = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < 20000; i++) a[i] = random_u64();
        quicksort(a, 0, 19999);
        sum += a[100];
    }
    return sum;
}

struct node {
    struct node *child[2];
    uint64_t key;
};
static uint64_t tree(long rounds) {
    struct node *nodes = data;
    uint64_t sum = 0;
    for (long r = 0; r < rounds; r++) {
        struct node *root = nodes;
        for (int i = 0; i < 6000; i++) {
            struct node *n = nodes + i, *at = root;
            *n = (struct node){{0, 0}, random_u64()};
            while (at != n) {
                struct node **next = &at->child[n->key >= at->key];
                if (!*next) *next = n;
                at = *next;
            }
        }
        sum += root->key;
    }
    return sum;
}
static uint64_t hash(long rounds) {
    uint64_t *table = data, sum = 0;
    for (long i = 0; i < 100000 * rounds; i++) {
        uint64_t x = random_u64();
        table[x & 0x3ffff] += x;
        sum ^= table[(x >> 20) & 0x3ffff];
    }
    return sum;
}
__attribute__((noinline)) static uint64_t fibonacci(uint64_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static uint64_t sequence(long rounds) {
    uint32_t *a = data;
    uint64_t sum = 0;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 200000; i++) a[i] = sum = sum * 31 + a[i];
    return sum;
}
static uint64_t bytes(long rounds) {
    uint8_t *a = data;
    uint64_t sum = 0;
    for (long r = 0; r < rounds; r++) {
        uint32_t count = 0;
        for (int i = 1; i < 200000; i++) {
            uint8_t byte = a[i];
            if (byte > a[i - 1]) count++;
            else if (byte & 1) count ^= i;
            a[i] = byte + count;
        }
        sum += count;
    }
    return sum;
}
static uint64_t run(int which, long rounds) {
    if (which == 0) return sort(rounds);
    if (which == 1) return tree(rounds);
    if (which == 2) return hash(rounds);
    if (which == 3) return fibonacci(20 + rounds);
    return which == 4 ? sequence(rounds) : bytes(rounds);
}
