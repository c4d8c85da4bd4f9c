/* String search: Horspool's algorithm of the program's own, and the C library's memchr, strstr, strlen and memcpy (which use SSE or what the processor has). */
#include "bench.h"

enum { SIZE = 1 << 18 };
static char text[SIZE + 1], copy[SIZE + 1];

static long horspool(const char *haystack, long n, const char *needle, long m) {
    long skip[256], count = 0;
    for (int i = 0; i < 256; i++) skip[i] = m;
    for (long i = 0; i < m - 1; i++) skip[(uint8_t)needle[i]] = m - 1 - i;
    for (long at = 0; at + m <= n; at += skip[(uint8_t)haystack[at + m - 1]]) {
        long i = m - 1;
        while (i >= 0 && haystack[at + i] == needle[i]) i--;
        count += i < 0;
    }
    return count;
}

int main(int argc, char **argv) {
    static const char *needles[] = {"abacab", "cab", "dddd", "abcdabcd", "ba", "abcdefgh"};
    long scale = bench_begin("search", argc, argv);
    uint64_t sum = 0;
    for (long i = 0; i < SIZE; i++) text[i] = (char)("abcd \n"[random_u64() % (i % 3 ? 4 : 6)]);
    for (long round = 0; round < scale; round++) {
        const char *needle = needles[round % 6];
        sum = mix(sum, (uint64_t)horspool(text, SIZE, needle, (long)strlen(needle)));
        for (const char *p = text; (p = strstr(p, needle)) != NULL; p++) sum++;
        for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + SIZE - p))) != NULL; p++) sum++;
        memcpy(copy, text, SIZE);
        sum = mix(sum, strlen(copy) + (uint64_t)memcmp(copy, text, SIZE));
    }
    return bench_end(sum);
}
