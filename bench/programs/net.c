/* One TCP connection (or many, one after the other) to a server on the host, and that server: what a VM's network carries.
 *   net NAME SCALE ADDRESS PORT   send: a stream to the host; receive: a stream from it; latency: 64 bytes there and back, again and again; connect: connections
 *   net serve                     listens at a port of 127.0.0.1 that it prints, for all of these, until it is killed */
#define _GNU_SOURCE
#include "bench.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 128 << 10, MESSAGE = 64 };
/* What the client wants: an operation, and bytes or messages. */
struct request {
    uint64_t operation; /* 's', 'r', 'l', 'c' */
    uint64_t count;
};
static unsigned char chunk[CHUNK];

static void fail(const char *what) {
    perror(what);
    exit(1);
}
static void put(int fd, const void *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        ssize_t n = write(fd, (const char *)bytes + at, length - at);
        if (n <= 0) fail("write");
        at += n;
    }
}
/* @returns 0 at the end of the stream */
static int get(int fd, void *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        ssize_t n = read(fd, (char *)bytes + at, length - at);
        if (n < 0) fail("read");
        if (n == 0) return 0;
        at += n;
    }
    return 1;
}
static int no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}
/* Sum of one byte of each 1000: enough to see that something is missing or twice, and nothing beside the network's own work. */
static uint64_t sample(const unsigned char *bytes, size_t length, uint64_t position) {
    uint64_t sum = 0;
    for (size_t at = (1000 - position % 1000) % 1000; at < length; at += 1000) sum += bytes[at] * ((position + at) / 1000 + 1);
    return sum;
}
static void fill(void) {
    for (size_t at = 0; at < CHUNK; at++) chunk[at] = at * 7 + (at >> 8);
}
static void stream_out(int fd, uint64_t count) {
    fill();
    for (uint64_t at = 0; at < count; at += CHUNK) put(fd, chunk, count - at < CHUNK ? count - at : CHUNK);
}
static uint64_t stream_in(int fd, uint64_t count) {
    uint64_t sum = 0, at = 0;
    while (at < count) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n <= 0) fail("stream");
        sum += sample(chunk, n, at);
        at += n;
    }
    return sum;
}

static void answer(int fd) {
    struct request request;
    uint64_t sum = 0;
    while (get(fd, &request, sizeof request)) {
        switch (request.operation) {
        case 's':
            sum = stream_in(fd, request.count);
            put(fd, &sum, sizeof sum);
            break;
        case 'r':
            stream_out(fd, request.count);
            break;
        case 'l':
            for (uint64_t n = 0; n < request.count && get(fd, chunk, MESSAGE); n++) put(fd, chunk, MESSAGE);
            break;
        default:
            put(fd, &request, sizeof request);
        }
    }
}
static int serve(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 512)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
        if (fork() == 0) {
            answer(no_delay(fd));
            _exit(0);
        }
        close(fd);
    }
}

static int open_connection(char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[4]))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, argv[3], &address.sin_addr);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    return no_delay(fd);
}
static uint64_t ask(int fd, int operation, uint64_t count) {
    struct request request = {operation, count};
    put(fd, &request, sizeof request);
    return count;
}

int main(int argc, char **argv) {
    char name[32];
    uint64_t sum = 0, count;
    if (argc == 2) return serve();
    if (argc != 5) return 2;
    snprintf(name, sizeof name, "net-%s", argv[1]);
    int fd = open_connection(argv);
    long scale = bench_begin(name, argc - 1, argv + 1);
    switch (argv[1][0]) {
    case 's':
        count = ask(fd, 's', scale * 2 << 20);
        stream_out(fd, count);
        get(fd, &sum, sizeof sum);
        break;
    case 'r':
        count = ask(fd, 'r', scale * 2 << 20);
        sum = stream_in(fd, count);
        break;
    case 'l':
        count = ask(fd, 'l', scale * 100);
        for (uint64_t n = 0; n < count; n++) {
            memcpy(chunk, &n, sizeof n);
            put(fd, chunk, MESSAGE);
            if (!get(fd, chunk, MESSAGE)) fail("answer");
            sum += chunk[0];
        }
        break;
    default:
        count = scale * 2;
        for (uint64_t n = 0; n < count; n++) {
            int other = open_connection(argv);
            struct request request;
            ask(other, 'c', n);
            if (!get(other, &request, sizeof request)) fail("answer");
            sum += request.count;
            close(other);
        }
    }
    return bench_end_of(sum, count);
}
