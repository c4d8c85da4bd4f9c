/* parallel NAME processes|threads JOBS SCALE: as many equal jobs side by side, each on memory of its own: sorts, hashes and floating point. */
#include "bench.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 16, COUNT = 1 << 14 };
struct job {
    long rounds;
    uint64_t sum;
};

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void *work(void *argument) {
    struct job *job = argument;
    uint32_t *numbers = malloc(COUNT * sizeof *numbers);
    uint64_t state = 88172645463325252u, sum = 0;
    double x = 0.5;
    for (long round = 0; round < job->rounds; round++) {
        for (long i = 0; i < COUNT; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            numbers[i] = (uint32_t)state;
            x = 3.9 * x * (1 - x);
        }
        qsort(numbers, COUNT, sizeof *numbers, ascending);
        for (long i = 0; i < COUNT; i++) sum = mix(sum, numbers[i]);
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        sum = mix(sum, bits);
    }
    free(numbers);
    job->sum = sum;
    return NULL;
}

static void in_processes(struct job *jobs, long count) {
    for (long i = 0; i < count; i++)
        if (fork() == 0) {
            work(&jobs[i]);
            _exit(0);
        }
    while (wait(NULL) > 0) continue;
}

static void in_threads(struct job *jobs, long count) {
    pthread_t threads[MOST];
    for (long i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, &jobs[i]);
    for (long i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    long count = argc > 3 ? atol(argv[3]) : 0;
    if (count < 1 || count > MOST) {
        fprintf(stderr, "parallel NAME processes|threads JOBS SCALE\n");
        return 2;
    }
    struct job *jobs = mmap(NULL, MOST * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long scale = bench_begin(argv[1], argc - 3, argv + 3);
    for (long i = 0; i < count; i++) jobs[i].rounds = 1 + scale * 2 / 3;
    if (strcmp(argv[2], "threads") == 0) in_threads(jobs, count);
    else in_processes(jobs, count);
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) sum = mix(sum, jobs[i].sum);
    return bench_end(sum);
}
