/* disk KIND DEVICE SCALE: requests to a block device or a file of at least 64 MiB, past the page cache except for buffered-*. Kinds: read, write (4 KiB in order),
 * random-read, random-write, both also with -16 (so many at a time), buffered-read, buffered-write (1 MiB in order, with the flush), flush (4 KiB and fdatasync). */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCK = 4096, LARGE = 1 << 20, SPAN = 64 << 20, DEPTH = 16 };
static _Alignas(4096) uint8_t buffers[DEPTH][BLOCK];
static _Alignas(4096) uint8_t large[LARGE];

static int fail(const char *what) {
    printf("@failed %s: %s\n", what, strerror(errno));
    return 1;
}
static off_t place(int random, long n) {
    return (off_t)(random ? random_u64() % (SPAN / BLOCK) : (uint64_t)n % (SPAN / BLOCK)) * BLOCK;
}
static void fill(uint8_t *block, off_t at) {
    uint64_t word = (uint64_t)at * 2654435761u + 1;
    memcpy(block, &word, sizeof word);
}
static uint64_t first(const uint8_t *block) {
    uint64_t word;
    memcpy(&word, block, sizeof word);
    return word;
}

/* One request at a time. */
static long one(int fd, int writes, int random, int flushes, long count, uint64_t *sum) {
    for (long n = 0; n < count; n++) {
        off_t at = place(random, n);
        if (writes) fill(buffers[0], at);
        ssize_t done = writes ? pwrite(fd, buffers[0], BLOCK, at) : pread(fd, buffers[0], BLOCK, at);
        if (done != BLOCK || (flushes && fdatasync(fd) != 0)) return -1;
        *sum = mix(*sum, first(buffers[0]));
    }
    return count;
}
/* DEPTH requests under way; each that ends makes room for the next. The sum does not depend on the order. */
static long many(int fd, int writes, long count, uint64_t *sum) {
    aio_context_t context = 0;
    struct iocb blocks[DEPTH], *list[DEPTH];
    struct io_event events[DEPTH];
    if (syscall(SYS_io_setup, DEPTH, &context) != 0) return -1;
    long started = 0, ended = 0;
    int idle = DEPTH;
    int free_list[DEPTH];
    for (int i = 0; i < DEPTH; i++) free_list[i] = i;
    while (ended < count) {
        int ready = 0;
        while (idle > 0 && started < count) {
            int i = free_list[--idle];
            off_t at = place(1, started++);
            if (writes) fill(buffers[i], at);
            blocks[i] = (struct iocb){.aio_data = i, .aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD, .aio_fildes = fd,
                .aio_buf = (uint64_t)buffers[i], .aio_nbytes = BLOCK, .aio_offset = at};
            list[ready++] = &blocks[i];
        }
        if (ready > 0 && syscall(SYS_io_submit, context, ready, list) != ready) return -1;
        long got = syscall(SYS_io_getevents, context, 1, DEPTH, events, NULL);
        if (got < 1) return -1;
        for (long e = 0; e < got; e++) {
            if (events[e].res != BLOCK) return -1;
            *sum += first(buffers[events[e].data]);
            free_list[idle++] = events[e].data;
        }
        ended += got;
    }
    syscall(SYS_io_destroy, context);
    return count;
}
static long buffered(int fd, int writes, long count, uint64_t *sum) {
    for (long n = 0; n < count; n++) {
        off_t at = (off_t)(n % (SPAN / LARGE)) * LARGE;
        if (writes) fill(large, at);
        if ((writes ? pwrite(fd, large, LARGE, at) : pread(fd, large, LARGE, at)) != LARGE) return -1;
        *sum = mix(*sum, first(large));
    }
    return writes && fdatasync(fd) != 0 ? -1 : count;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    const char *kind = argv[1];
    char name[64];
    snprintf(name, sizeof name, "disk-%s", kind);
    int writes = strstr(kind, "write") != NULL || strcmp(kind, "flush") == 0;
    int is_buffered = strncmp(kind, "buffered", 8) == 0;
    int random = strncmp(kind, "random", 6) == 0 || strcmp(kind, "flush") == 0;
    int fd = open(argv[2], (writes ? O_RDWR : O_RDONLY) | (is_buffered ? 0 : O_DIRECT));
    if (fd < 0) return fail(name);
    /* What is to be read from the device is not in the guest's memory. */
    if (is_buffered && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) return fail(name);
    if (!is_buffered && pread(fd, buffers[0], BLOCK, 0) != BLOCK) return fail(name);
    long scale = bench_begin(name, argc - 2, argv + 2);
    uint64_t sum = 0;
    long count;
    if (is_buffered) count = buffered(fd, writes, (SPAN / LARGE) * scale / 100 + 1, &sum);
    else if (strstr(kind, "-16") != NULL) count = many(fd, writes, 200 * scale, &sum);
    else if (strcmp(kind, "flush") == 0) count = one(fd, 1, 1, 1, scale * 2, &sum);
    else count = one(fd, writes, random, 0, 100 * scale, &sum);
    return count < 0 ? fail(name) : bench_end_of(sum, count);
}
