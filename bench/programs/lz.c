/* An LZ77 compressor with hash chains of one, and its decompressor: byte loads, matching loops, copies. */
#include "bench.h"

enum { SIZE = 1 << 17, HASH = 1 << 13 };
static uint8_t input[SIZE], packed[SIZE * 2], output[SIZE + 300];
static int32_t head[HASH];

static long pack(const uint8_t *in, long n, uint8_t *out) {
    uint8_t *start = out;
    memset(head, 0xff, sizeof head);
    for (long at = 0; at < n;) {
        long length = 0, from = -1;
        if (at + 4 <= n) {
            uint32_t word;
            memcpy(&word, in + at, 4);
            uint32_t slot = word * 2654435761u >> 19;
            from = head[slot];
            head[slot] = (int32_t)at;
            if (from >= 0 && at - from < 65536)
                while (length < 255 && at + length < n && in[from + length] == in[at + length]) length++;
        }
        if (length >= 4) {
            *out++ = 1;
            *out++ = (uint8_t)length;
            *out++ = (uint8_t)(at - from);
            *out++ = (uint8_t)((at - from) >> 8);
            at += length;
        } else {
            *out++ = 0;
            *out++ = in[at++];
        }
    }
    return out - start;
}
static long unpack(const uint8_t *in, long n, uint8_t *out) {
    uint8_t *start = out;
    for (const uint8_t *end = in + n; in < end;) {
        if (*in++ == 0) {
            *out++ = *in++;
            continue;
        }
        long length = in[0], back = in[1] | in[2] << 8;
        in += 3;
        for (; length > 0; length--, out++) *out = out[-back];
    }
    return out - start;
}

int main(int argc, char **argv) {
    static const char *words[] = {"guest ", "virtual ", "machine ", "page ", "the ", "of ", "interrupt ", "table ", "and ", "memory "};
    long scale = bench_begin("lz", argc, argv);
    uint64_t sum = 0;
    for (long round = 0; round < scale; round++) {
        for (long at = 0; at < SIZE;) {
            uint64_t r = random_u64();
            const char *word = words[r % 10];
            for (; *word && at < SIZE; word++) input[at++] = (uint8_t)*word;
            if (at < SIZE && (r >> 32) % 4 == 0) input[at++] = (uint8_t)('0' + (r >> 40) % 10);
        }
        long n = pack(input, SIZE, packed);
        if (unpack(packed, n, output) != SIZE || memcmp(input, output, SIZE) != 0) return 1;
        sum = mix(sum, (uint64_t)n);
    }
    return bench_end(sum);
}
