/* text KIB: prints that much text of numbered lines with words and numbers, the same everywhere: input for the system's programs. */
#include "bench.h"

int main(int argc, char **argv) {
    static const char *words[] = {"guest", "virtual", "machine", "page", "the", "of", "interrupt", "table", "and", "memory"};
    long bytes = (argc > 1 ? atol(argv[1]) : 1024) * 1024;
    for (long line = 1; bytes > 0; line++) {
        uint64_t r = random_u64();
        bytes -= printf("%llu %s %s %ld %s\n", (unsigned long long)r % 1000003, words[r >> 20 & 7], words[r >> 30 & 7], line, words[(r >> 40) % 10]);
    }
    return 0;
}
