/* A small virtual machine: a stack program whose operations are called through a table of function pointers. Indirect calls and returns. */
#include "bench.h"

typedef void operation(int64_t operand);
static int64_t stack[64], *top = stack, counter, result;
static int pc;

static void push(int64_t n) { *top++ = n; }
static void load(int64_t n) { *top++ = n ? counter : result; }
static void store(int64_t n) { (void)n, result = *--top; }
static void add(int64_t n) { (void)n, top--, top[-1] += top[0]; }
static void mul(int64_t n) { (void)n, top--, top[-1] *= top[0]; }
static void xor(int64_t n) { (void)n, top--, top[-1] ^= top[0]; }
static void shift(int64_t n) { top[-1] = (int64_t)((uint64_t)top[-1] >> n); }
static void loop(int64_t to) {
    if (--counter > 0) pc = (int)to;
}

static const struct { operation *run; int64_t operand; } program[] = {
    {load, 0}, {push, 31}, {mul, 0}, {load, 1}, {add, 0}, {store, 0}, {load, 0}, {load, 0}, {shift, 7}, {xor, 0}, {store, 0}, {loop, 0},
};

int main(int argc, char **argv) {
    long scale = bench_begin("calls", argc, argv);
    counter = 14000 * scale;
    for (pc = 0; pc < (int)(sizeof program / sizeof program[0]);) {
        int at = pc++;
        program[at].run(program[at].operand);
    }
    return bench_end((uint64_t)result);
}
