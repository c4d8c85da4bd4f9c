/* kernel NAME SCALE [DIRECTORY]: one operation of the kernel's, many times, and what it takes each. DIRECTORY (default /tmp) is on a tmpfs.
 * Programs that hand over to each other stay on one processor, as in a guest that has only one: it is the switch that is measured. */
#define _GNU_SOURCE
#include "bench.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1024 };
static const char *directory = "/tmp", *own_path;

static void must(int good, const char *what) {
    if (good) return;
    printf("@failed %s: %s\n", bench_name, what);
    exit(1);
}

static void stay_on_one_processor(void) {
    cpu_set_t set;
    must(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    int first = 0;
    while (!CPU_ISSET(first, &set)) first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    must(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

static uint64_t null_syscall(long n) {
    long parent = getppid();
    uint64_t same = 0;
    for (long i = 0; i < n; i++) same += syscall(SYS_getppid) == parent;
    return same;
}

/* A byte to the other process and back. */
static uint64_t pipe_ping_pong(long n) {
    int to[2], from[2];
    unsigned char byte = 0;
    uint64_t sum = 0;
    stay_on_one_processor();
    must(pipe(to) == 0 && pipe(from) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1) {
            byte += 3;
            if (write(from[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    for (long i = 0; i < n; i++) {
        byte = (unsigned char)i;
        must(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1, "write and read");
        sum = mix(sum, byte);
    }
    close(to[1]);
    must(waitpid(child, NULL, 0) == child, "waitpid");
    return sum;
}

static uint64_t statuses(long n, int exec) {
    uint64_t sum = 0;
    char path[4096];
    char *arguments[] = {path, NULL}, *environment[] = {NULL};
    const char *slash = strrchr(own_path, '/');
    snprintf(path, sizeof path, "%.*s/nothing", slash ? (int)(slash - own_path) : 1, slash ? own_path : ".");
    stay_on_one_processor();
    for (long i = 0; i < n; i++) {
        int status = -1;
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            if (exec) execve(path, arguments, environment);
            _exit(exec ? 99 : (int)(i & 63));
        }
        must(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
        must(!exec || WEXITSTATUS(status) == 7, "execve");
        sum = mix(sum, WEXITSTATUS(status));
    }
    return sum;
}
static uint64_t fork_exit_wait(long n) { return statuses(n, 0); }
static uint64_t fork_exec_wait(long n) { return statuses(n, 1); }

/* First touches of pages, given back in between. */
static uint64_t page_fault(long n) {
    uint64_t sum = 0;
    volatile char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "mmap");
    madvise((void *)memory, PAGES * PAGE, MADV_NOHUGEPAGE);
    for (long i = 0; i < n; i++) {
        volatile char *page = memory + (i % PAGES) * PAGE;
        sum += page[5] + 1;
        page[5] = 1;
        if (i % PAGES == PAGES - 1) must(madvise((void *)memory, PAGES * PAGE, MADV_DONTNEED) == 0, "madvise");
    }
    return sum;
}

static uint64_t map_unmap(long n) {
    for (long i = 0; i < n; i++) {
        void *memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED && munmap(memory, 16 * PAGE) == 0, "mmap and munmap");
    }
    return (uint64_t)n;
}

/* A file of one page: made, written, deleted. */
static uint64_t make_file(long n) {
    static char page[PAGE];
    char path[4096];
    uint64_t sum = 0;
    for (long i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/kernel-bench-%d-%ld", directory, getpid(), i % 16);
        int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
        must(file >= 0, "open");
        sum += write(file, page, PAGE);
        must(close(file) == 0 && unlink(path) == 0, "close and unlink");
    }
    return sum;
}

static volatile uint64_t signals;
static void on_signal(int number) { signals += number; }
static uint64_t signal_self(long n) {
    struct sigaction action = {.sa_handler = on_signal};
    must(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    for (long i = 0; i < n; i++) kill(getpid(), SIGUSR1);
    return signals;
}

/* Whose turn it is: 0 main, 1 the other thread. */
static uint32_t turn;
static uint64_t turns_taken;
static void take_turns(long n, uint32_t self) {
    for (long i = 0; i < n; i++) {
        while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != self) syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1 - self, NULL);
        turns_taken = mix(turns_taken, self + (uint64_t)i);
        __atomic_store_n(&turn, 1 - self, __ATOMIC_RELEASE);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
    }
}
static void *other_thread(void *n) {
    take_turns(*(long *)n, 1);
    return NULL;
}
static uint64_t futex_ping_pong(long n) {
    pthread_t other;
    stay_on_one_processor();
    must(pthread_create(&other, NULL, other_thread, &n) == 0, "pthread_create");
    take_turns(n, 0);
    pthread_join(other, NULL);
    return turns_taken;
}

static const struct { const char *name; uint64_t (*run)(long); long operations_per_percent; } loads[] = {
    {"syscall", null_syscall, 10000}, {"pipe", pipe_ping_pong, 80}, {"fork", fork_exit_wait, 6},
    {"exec", fork_exec_wait, 1},      {"fault", page_fault, 300},   {"mmap", map_unmap, 200},
    {"files", make_file, 40},         {"signal", signal_self, 150}, {"futex", futex_ping_pong, 500},
};

int main(int argc, char **argv) {
    own_path = argv[0];
    if (argc > 3) directory = argv[3];
    for (size_t i = 0; argc > 1 && i < sizeof loads / sizeof loads[0]; i++) {
        if (strcmp(argv[1], loads[i].name) != 0) continue;
        long n = loads[i].operations_per_percent * bench_begin(argv[1], argc - 1, argv + 1);
        return bench_end_of(loads[i].run(n), n);
    }
    fprintf(stderr, "kernel NAME SCALE [DIRECTORY]\n");
    return 2;
}
