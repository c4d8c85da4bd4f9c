/* touch MIB: writes that much memory once per page, says so, and keeps it. */
#include "bench.h"
#include <unistd.h>

int main(int argc, char **argv) {
    long bytes = (argc > 1 ? atol(argv[1]) : 100) * 1024 * 1024;
    char *memory = malloc((size_t)bytes);
    for (long i = 0; i < bytes; i += 4096) memory[i] = (char)(i >> 12 | 1);
    printf("@touched %ld\n", bytes);
    fflush(stdout);
    for (;;) pause();
}
