/* What C programs do with the processor that scripts do not: 80-bit floating point, rounding modes and exception flags, signals of faults, jumps over
 * frames, threads, vectorised loops. Prints everything; the same binary runs in the guest and on the host. Without arguments: the parts' names.
 * Addresses in the output are relative, since each run has others. */
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <immintrin.h>

#pragma STDC FENV_ACCESS ON
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static uint64_t state = 88172645463325252u;
static uint64_t next_word(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}
static double next_double(void) {
    union { uint64_t u; double d; } both = {next_word()};
    return both.d;
}
/* Magnitudes that are near one another, so that sums and quotients are interesting. */
static long double next_long_double(void) {
    long double fraction = (long double)next_word() / 0x1p64L + 0.5L;
    int exponent = (int)(next_word() % 80) - 40;
    return ldexpl(next_word() & 1 ? -fraction : fraction, exponent);
}
static const int MODES[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
static void print_flags(void) {
    int raised = fetestexcept(FE_ALL_EXCEPT);
    printf(" [%s%s%s%s%s]\n", raised & FE_INVALID ? "I" : "", raised & FE_DIVBYZERO ? "Z" : "", raised & FE_OVERFLOW ? "O" : "",
           raised & FE_UNDERFLOW ? "U" : "", raised & FE_INEXACT ? "P" : "");
    feclearexcept(FE_ALL_EXCEPT);
}

static void long_double(void) {
    volatile long double special[] = {0.0L, -0.0L, 1.0L, -1.5L, LDBL_MIN, LDBL_MAX, LDBL_TRUE_MIN, LDBL_EPSILON, INFINITY, -INFINITY, 1e4000L, 3.0L};
    feclearexcept(FE_ALL_EXCEPT);
    for (size_t m = 0; m < COUNT(MODES); m++) {
        fesetround(MODES[m]);
        for (int i = 0; i < 400; i++) {
            volatile long double a = i < 144 ? special[i / 12] : next_long_double();
            volatile long double b = i < 144 ? special[i % 12] : next_long_double();
            volatile long double sum = a + b, difference = a - b, product = a * b, quotient = a / b;
            volatile double narrowed = a;
            volatile float narrower = b;
            int flags = fetestexcept(FE_ALL_EXCEPT);
            feclearexcept(FE_ALL_EXCEPT);
            printf("%La %La %La %La %a %a %.25Lg %x %d%d%d", sum, difference, product, quotient, narrowed, narrower, sum, flags, a < b, a == b, isunordered(a, b));
            feclearexcept(FE_ALL_EXCEPT);
            volatile long double root = sqrtl(fabsl(a)), rest = fmodl(a, b), nearest = remainderl(a, b), whole = rintl(b);
            printf(" %La %La %La %La %ld", root, rest, nearest, whole, fabsl(a) < 1e18L ? lrintl(a) : 0);
            print_flags();
        }
    }
    fesetround(FE_TONEAREST);
}

static void long_double_functions(void) {
    long double (*const functions[])(long double) = {sinl, cosl, tanl, asinl, acosl, atanl, sinhl, coshl, tanhl, asinhl, acoshl, atanhl, expl, exp2l, exp10l, expm1l,
        logl, log2l, log10l, log1pl, logbl, cbrtl, erfl, erfcl, tgammal, lgammal, floorl, ceill, truncl, roundl, nearbyintl, j0l, y1l};
    for (int i = 0; i < 60; i++) {
        long double x = i < 20 ? (i - 10) * 0.37L : next_long_double();
        long double y = next_long_double();
        for (size_t f = 0; f < COUNT(functions); f++) printf("%La ", functions[f](x));
        int exponent, quotient;
        long double mantissa = frexpl(x, &exponent), integral, fraction = modfl(x, &integral), remainder = remquol(x, y, &quotient);
        printf("%La %La %La %La %La %La %d %La %La %La %d %La\n", powl(fabsl(x), y / 16), atan2l(x, y), hypotl(x, y), fmal(x, y, x), nextafterl(x, y), mantissa, exponent,
               integral, fraction, remainder, quotient & 7, scalbnl(x, 13));
    }
}

static void double_functions(void) {
    double (*const functions[])(double) = {sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh, exp, exp2, expm1, log, log2, log10, log1p, cbrt, erf, erfc, tgamma, lgamma, rint, sqrt};
    float (*const narrow[])(float) = {sinf, cosf, tanf, expf, logf, exp2f, log2f, atanf, sqrtf, floorf, rintf};
    feclearexcept(FE_ALL_EXCEPT);
    for (size_t m = 0; m < COUNT(MODES); m++) {
        fesetround(MODES[m]);
        for (int i = 0; i < 80; i++) {
            double x = i & 1 ? next_double() : (double)next_long_double(), y = (double)next_long_double();
            for (size_t f = 0; f < COUNT(functions); f++) printf("%a ", functions[f](x));
            for (size_t f = 0; f < COUNT(narrow); f++) printf("%a ", narrow[f]((float)y));
            printf("%a %a %a %a %ld %d", pow(fabs(x), y / 1e9), fmod(x, y), hypot(x, y), fma(x, y, 1), fabs(y) < 1e18 ? lrint(y) : 0, (int)fabs(y) & 0xff);
            print_flags();
        }
    }
    fesetround(FE_TONEAREST);
}

static void conversions(void) {
    const char *texts[] = {"0.1", "1e23", "8.5e-324", "2.2250738585072011e-308", "1.7976931348623158e308", "1e400", "0x1.fffffffffffff8p0", "123456789012345678901234567890", "-inf", "nan", "3.3621031431120935062626778173217526e-4932L", "1e-5000"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        errno = 0;
        double d = strtod(texts[i], NULL);
        float f = strtof(texts[i], NULL);
        long double l = strtold(texts[i], NULL);
        printf("%s %.17g %.9g %.21Lg %a %a %La %d\n", texts[i], d, f, l, d, f, l, errno);
    }
    for (int i = 0; i < 300; i++) {
        double d = next_double();
        char text[64];
        snprintf(text, sizeof text, "%.17g", d);
        printf("%s %d %e %g %.3f %a %.40g\n", text, strtod(text, NULL) == d || d != d, d, d, fabs(d) < 1e50 ? d : 0, d, d);
        uint64_t u = next_word();
        int64_t s = (int64_t)next_word();
        printf("%a %a %a %a %La %La %lu %ld %d\n", (double)u, (float)u, (double)s, (float)s, (long double)u, (long double)s, (uint64_t)((long double)u), (int64_t)((double)s / 3), (int)((float)s / 0x1p40f));
    }
}

static void rounding_and_flags(void) {
    volatile double values[] = {0.0, 1.0, -1.0, 3.0, DBL_MIN, DBL_MAX, DBL_TRUE_MIN, INFINITY, 0.1, 1e300, -2.5, 0x1.0000000000001p0};
    feclearexcept(FE_ALL_EXCEPT);
    for (size_t m = 0; m < COUNT(MODES); m++) {
        fesetround(MODES[m]);
        printf("mode %x %x\n", fegetround(), _mm_getcsr() & 0x6000);
        for (size_t i = 0; i < COUNT(values) * COUNT(values); i++) {
            volatile double a = values[i / COUNT(values)], b = values[i % COUNT(values)];
            volatile double sum = a + b, product = a * b, quotient = a / b, root = sqrt(fabs(a)), whole = rint(a);
            volatile float narrow = a;
            volatile float narrow_product = (float)a * (float)b;
            printf("%a %a %a %a %a %a %a", sum, product, quotient, root, whole, narrow, narrow_product);
            print_flags();
        }
    }
    fesetround(FE_TONEAREST);
    fexcept_t saved;
    feraiseexcept(FE_OVERFLOW | FE_INVALID);
    fegetexceptflag(&saved, FE_ALL_EXCEPT);
    print_flags();
    fesetexceptflag(&saved, FE_OVERFLOW);
    print_flags();
    fenv_t environment;
    feholdexcept(&environment);
    volatile double zero = 0;
    printf("%a", 1 / zero);
    feupdateenv(&environment);
    print_flags();
    unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040); /* FTZ, DAZ */
    volatile double tiny = DBL_MIN, denormal = DBL_TRUE_MIN * 5;
    printf("%a %a %a", tiny / 2, denormal * 2, denormal + tiny);
    _mm_setcsr(control);
    print_flags();
}

static sigjmp_buf after_fault;
static volatile int fault_signal, fault_code;
static char *volatile fault_address;
static volatile greg_t fault_trap, fault_error;
static void on_fault(int signal, siginfo_t *info, void *context) {
    const ucontext_t *saved = context;
    fault_signal = signal;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    fault_trap = saved->uc_mcontext.gregs[REG_TRAPNO];
    fault_error = saved->uc_mcontext.gregs[REG_ERR];
    siglongjmp(after_fault, 1);
}
static void catch_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, 
        .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigaltstack(&(stack_t){.ss_sp = malloc(65536), .ss_size = 65536}, NULL);
    const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGBUS};
    for (size_t i = 0; i < COUNT(signals); i++) sigaction(signals[i], &action, NULL);
}
#define FAULT(what, base, statement)                                                                                                  \
    do {                                                                                                                              \
        fault_signal = 0;                                                                                                             \
        if (sigsetjmp(after_fault, 1) == 0) {                                                                                         \
            statement;                                                                                                                \
        }                                                                                                                             \
        printf("%s: signal %d code %d trap %lld error %llx", what, fault_signal, fault_code, fault_trap, fault_error);                  \
        if (base) printf(" at %td", fault_address - (char *)(base));                                                                   \
        printf("\n");                                                                                                                 \
    } while (0)

static void integer_faults(void) {
    volatile int zero = 0, least = INT32_MIN, minus = -1, result = 0;
    volatile int64_t least64 = INT64_MIN, minus64 = -1;
    catch_faults();
    FAULT("division by zero", NULL, result = 5 / zero);
    FAULT("overflow of a quotient", NULL, result = least / minus);
    FAULT("overflow of a 64-bit quotient", NULL, result = (int)(least64 / minus64));
    FAULT("ud2", NULL, __asm__ volatile("ud2"));
    FAULT("int3", NULL, __asm__ volatile("int3"));
    FAULT("int1", NULL, __asm__ volatile(".byte 0xf1"));
    FAULT("hlt", NULL, __asm__ volatile("hlt"));
    FAULT("cli", NULL, __asm__ volatile("cli"));
    FAULT("in", NULL, __asm__ volatile("inb $0x80, %%al" ::: "rax"));
    FAULT("rdmsr", NULL, __asm__ volatile("rdmsr" ::"c"(0x10) : "rax", "rdx"));
    FAULT("mov from cr0", NULL, __asm__ volatile("mov %%cr0, %%rax" ::: "rax"));
    FAULT("int 0x20", NULL, __asm__ volatile("int $0x20"));
    FAULT("trap flag", NULL, __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "memory", "cc"));
    FAULT("alignment of movaps", NULL, __asm__ volatile("movaps 1(%%rsp), %%xmm0" ::: "xmm0"));
    FAULT("not canonical", NULL, result = *(volatile char *)0x8000000000000000);
    FAULT("not canonical stack", NULL, __asm__ volatile("mov %%rsp, %%rbx; movabs $0x8000000000000000, %%rsp; push %%rax" ::: "rbx", "memory"));
    FAULT("kernel memory", NULL, result = *(volatile char *)0xffffffff81000000);
    FAULT("undefined opcode", NULL, __asm__ volatile(".byte 0x06"));
    FAULT("lock on a register", NULL, __asm__ volatile(".byte 0xf0, 0x01, 0xc0"));
    FAULT("16 bytes", NULL, __asm__ volatile(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90"));
    printf("%d\n", result);
}

static void memory_faults(void) {
    const size_t page = 4096;
    catch_faults();
    char *pages = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 0xc3, 4 * page); /* ret */
    mprotect(pages + page, page, PROT_READ);
    mprotect(pages + 2 * page, page, PROT_NONE);
    volatile uint64_t sink = 0;
    FAULT("write to a read-only page", pages, pages[page + 17] = 1);
    FAULT("read over an edge", pages, sink = *(volatile uint64_t *)(pages + 2 * page - 3));
    FAULT("write over an edge", pages, *(volatile uint64_t *)(pages + page - 5) = 0);
    printf("untouched: %02x\n", (unsigned char)pages[page - 5]);
    FAULT("no access", pages, sink = (uint64_t)pages[2 * page + 5]);
    FAULT("execute data", pages, ((void (*)(void))(void *)pages)());
    mprotect(pages, page, PROT_READ | PROT_EXEC);
    FAULT("execute code", NULL, ((void (*)(void))(void *)pages)());
    FAULT("string over an edge", pages, memset(pages + 3 * page - 10, 1, 20));
    mprotect(pages, 4 * page, PROT_READ | PROT_WRITE);
    munmap(pages + 3 * page, page);
    char *from = pages, *to = pages + 3 * page - 100;
    size_t count = 300;
    FAULT("rep movsb over an edge", pages, __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory"));
    int moved = 0;
    while (moved < 100 && pages[3 * page - 100 + moved] == pages[moved]) moved++;
    printf("moved %d\n", moved);
    FAULT("null", (char *)NULL, *(volatile int *)8 = 1);
    printf("%td\n", (ptrdiff_t)fault_address);
    char *mapped = mmap(NULL, page, PROT_READ, MAP_SHARED, fileno(tmpfile()), 0);
    FAULT("beyond the end of a file", mapped, sink = (uint64_t)mapped[100]);
    (void)sink;
}

/* A handler that is left by a jump leaves the floating-point environment of handlers, so each fault enables its exception anew. */
#define FLOAT_FAULT(what, statement)                                                                                                  \
    do {                                                                                                                              \
        feclearexcept(FE_ALL_EXCEPT);                                                                                                 \
        feenableexcept(exceptions[i]);                                                                                                \
        FAULT(what, NULL, statement);                                                                                                 \
        feclearexcept(FE_ALL_EXCEPT);                                                                                                 \
        fedisableexcept(FE_ALL_EXCEPT);                                                                                               \
    } while (0)

static void float_faults(void) {
    volatile double zero = 0, large = DBL_MAX, result;
    volatile long double zero_l = 0, large_l = LDBL_MAX, result_l;
    catch_faults();
    const int exceptions[] = {FE_DIVBYZERO, FE_INVALID, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT};
    for (size_t i = 0; i < COUNT(exceptions); i++) {
        FLOAT_FAULT("SSE 1 / 0", result = 1 / zero);
        FLOAT_FAULT("SSE 0 / 0", result = zero / zero);
        FLOAT_FAULT("SSE overflow", result = large * large);
        FLOAT_FAULT("SSE underflow", result = DBL_MIN / large);
        FLOAT_FAULT("x87 1 / 0", result_l = 1 / zero_l);
        FLOAT_FAULT("x87 0 / 0", result_l = zero_l / zero_l);
        FLOAT_FAULT("x87 overflow", result_l = large_l * large_l);
        FLOAT_FAULT("x87 underflow", result_l = LDBL_MIN / large_l);
        FLOAT_FAULT("x87 root", result_l = sqrtl(zero_l - 1));
    }
    (void)result;
    (void)result_l;
}

static jmp_buf jump;
static int descend(int depth) {
    volatile char frame[100];
    memset((void *)frame, depth, sizeof frame);
    if (depth == 0) longjmp(jump, 42);
    return descend(depth - 1) + frame[50];
}
static volatile sig_atomic_t delivered[65];
static int order[64], ordered;
static void on_signal(int signal) {
    delivered[signal]++;
    if (ordered < 64) order[ordered++] = signal;
}
static void on_value(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d value %d\n", signal, info->si_value.sival_int);
}
static void jumps_and_signals(void) {
    printf("longjmp %d\n", setjmp(jump) ?: descend(50));
    struct sigaction action = {.sa_handler = on_signal};
    for (int signal = SIGUSR1; signal <= SIGUSR2; signal++) sigaction(signal, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    for (int i = 0; i < 1000; i++) raise(i % 3 ? SIGUSR1 : SIGUSR2);
    printf("%d %d\n", delivered[SIGUSR1], delivered[SIGUSR2]);
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    struct sigaction queued = {.sa_sigaction = on_value, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 5; i++) {
        sigaction(SIGRTMIN + i, &queued, NULL);
        sigqueue(getpid(), SIGRTMIN + 4 - i, (union sigval){.sival_int = i * 7});
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&alternate, NULL);
    alarm(1);
    while (delivered[SIGALRM] == 0) pause();
    printf("alarm %d\n", delivered[SIGALRM]);
    fflush(stdout);
    for (int how = 0; how < 4; how++) {
        pid_t child = fork();
        if (child == 0) {
            volatile int zero = 0;
            signal(SIGFPE, SIG_DFL);
            signal(SIGSEGV, SIG_DFL);
            if (how == 0) _exit(7);
            if (how == 1) _exit(5 / zero);
            if (how == 2) *(volatile int *)1 = 1;
            abort();
        }
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        printf("child %d: exited %d signal %d\n", how, WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    }
    /* Vector and x87 registers survive a signal. */
    long double kept = 1.0L / 3;
    __m128i wide = _mm_set_epi32(1, 2, 3, 4);
    fesetround(FE_UPWARD);
    raise(SIGUSR1);
    printf("%La %x %d\n", kept, fegetround(), _mm_extract_epi32(wide, 2));
    fesetround(FE_TONEAREST);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long guarded;
static atomic_long counted;
static int turn;
static __thread long own;
static void *work(void *argument) {
    const int number = (int)(intptr_t)argument;
    pthread_barrier_wait(&barrier);
    long double sum = 0;
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&mutex);
        guarded += number;
        pthread_mutex_unlock(&mutex);
        atomic_fetch_add(&counted, i);
        sum += 1.0L / (i + number + 1);
        own += i ^ number;
    }
    for (int round = 0; round < 50; round++) {
        pthread_mutex_lock(&mutex);
        while (turn % 4 != number) pthread_cond_wait(&condition, &mutex);
        turn++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    char *text = malloc(100);
    snprintf(text, 100, "%d: %La %ld", number, sum, own);
    return text;
}
static void threads(void) {
    pthread_t started[4];
    pthread_barrier_init(&barrier, NULL, 4);
    for (intptr_t i = 0; i < 4; i++) pthread_create(&started[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++) {
        void *text;
        pthread_join(started[i], &text);
        printf("%s\n", (char *)text);
        free(text);
    }
    printf("%ld %ld %d\n", guarded, counted, turn);
}

static uint64_t mix(uint64_t digest, const void *data, size_t length) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++) digest = (digest ^ bytes[i]) * 0x100000001b3u;
    return digest;
}
static void strings(void) {
    static char a[9000], b[9000];
    uint64_t digest = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof a; i++) a[i] = (char)('a' + next_word() % 26);
    for (int i = 0; i < 600; i++) {
        size_t from = next_word() % 70, to = next_word() % 70, length = next_word() % (i % 5 ? 300 : 4000);
        memset(b, i, sizeof b);
        memcpy(b + to, a + from, length);
        memmove(b + to + 7, b + to, length);
        memmove(b + to, b + to + 3, length);
        digest = mix(digest, b, sizeof b);
        char kept = a[from + length];
        a[from + length] = 0;
        const char c = (char)('a' + i % 26);
        const char *found = strchr(a + from, c), *last = strrchr(a + from, c), *part = strstr(a + from, "ab"), *any = strpbrk(a + from, "xyz");
        strcpy(b, a + from);
        int compared = strcmp(a + from, a + from + length / 2), blocks = memcmp(a + from, a + to, length), folded = strcasecmp(a + from, a + to);
        printf("%zu %zu %zu %zu %td %td %td %td %d %d %d\n", strlen(a + from), strnlen(a + from, 100), strspn(a + from, "abcdefghijk"), strcspn(a + from, "q"), found ? found - a : -1,
               last ? last - a : -1, part ? part - a : -1, any ? any - a : -1, (compared > 0) - (compared < 0), (blocks > 0) - (blocks < 0), (folded > 0) - (folded < 0));
        a[from + length] = kept;
        printf("%016lx %td\n", digest, (char *)memchr(a + from, c, 500) - a);
    }
}

static void print_wide(unsigned __int128 value) { printf("%016lx%016lx ", (uint64_t)(value >> 64), (uint64_t)value); }
static void integers(void) {
    for (int i = 0; i < 500; i++) {
        unsigned __int128 a = (unsigned __int128)next_word() << 64 | next_word(), b = ((unsigned __int128)next_word() << 64 | next_word()) >> (next_word() % 128) | 1;
        int shift = (int)(next_word() % 128);
        print_wide(a * b), print_wide(a / b), print_wide(a % b), print_wide(a << shift), print_wide(a >> shift), print_wide((unsigned __int128)((__int128)a / (__int128)b)),
            print_wide((unsigned __int128)((__int128)a >> shift)), print_wide(a - b), print_wide(a + b);
        uint64_t x = next_word(), y = next_word() >> shift % 64 | 1;
        uint32_t u = (uint32_t)x, v = (uint32_t)y | 1;
        int64_t product;
        int over = __builtin_mul_overflow((int64_t)x, (int64_t)y, &product);
        printf("%d %d %d %d %d %lx %lx %x %lu %ld %u %d %d %hd %hhu %a\n", __builtin_popcountll(x), __builtin_clzll(y), __builtin_ctzll(y), __builtin_parityll(x), over, product, __builtin_bswap64(x),
               u << v % 32 | u >> (-v & 31), x / y, (int64_t)x % (int64_t)y, u / v, (int32_t)u / (int32_t)v, (int32_t)u % (int32_t)v, (int16_t)(x * y), (uint8_t)(x / v), (double)(__int128)a);
    }
}

#define LENGTH 1003
static void vectors(void) {
    static float f[LENGTH], g[LENGTH];
    static double d[LENGTH], e[LENGTH];
    static int32_t i32[LENGTH];
    static uint8_t u8[LENGTH];
    static int16_t i16[LENGTH], j16[LENGTH];
    static uint64_t u64[LENGTH];
    for (int i = 0; i < LENGTH; i++) {
        f[i] = (float)next_long_double(), g[i] = (float)next_long_double(), d[i] = (double)next_long_double(), e[i] = (double)next_long_double();
        i32[i] = (int32_t)next_word(), u8[i] = (uint8_t)next_word(), i16[i] = (int16_t)next_word(), j16[i] = (int16_t)next_word(), u64[i] = next_word();
    }
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < LENGTH; i++) f[i] = f[i] * 0.75f + g[i] / (f[i] * f[i] + 1);
        for (int i = 0; i < LENGTH; i++) d[i] = sqrt(fabs(d[i])) - e[i] * 0.1;
        for (int i = 0; i < LENGTH; i++) i32[i] = i32[i] * 17 + (i32[i] >> 3) - (i32[i] > 1000 ? u8[i] : -i16[i]);
        for (int i = 0; i < LENGTH; i++) u8[i] = (uint8_t)((u8[i] + (i32[i] & 0xff) + 1) / 2);
        for (int i = 0; i < LENGTH; i++) i16[i] = i16[i] > j16[i] ? i16[i] - j16[i] : (int16_t)abs(j16[i]);
        for (int i = 0; i < LENGTH; i++) u64[i] = u64[i] * 6364136223846793005u + (u64[i] >> 29);
        for (int i = 0; i < LENGTH; i++) e[i] += (double)i32[i] * (float)d[i];
        for (int i = 0; i < LENGTH; i++) g[i] = fminf(fmaxf(floorf(g[i] * 3), -1000), 1000) + (float)i32[LENGTH - 1 - i];
        int32_t least = INT32_MAX, sum = 0;
        int64_t dot = 0;
        double total = 0;
        for (int i = 0; i < LENGTH; i++) least = i32[i] < least ? i32[i] : least, sum += u8[i], dot += i16[i] * j16[i], total += e[i];
        printf("%d %d %ld %a %016lx %016lx %016lx %016lx %016lx\n", least, sum, dot, total, mix(1, f, sizeof f), mix(1, d, sizeof d), mix(1, i32, sizeof i32), mix(1, u64, sizeof u64), mix(1, g, sizeof g));
    }
    __m128i x = _mm_loadu_si128((void *)u64), y = _mm_loadu_si128((void *)i32);
    for (int i = 0; i < 200; i++) {
        uint64_t out[2];
        x = _mm_shuffle_epi8(_mm_add_epi8(x, y), _mm_and_si128(y, _mm_set1_epi8(0x0f)));
        y = _mm_xor_si128(_mm_maddubs_epi16(x, y), _mm_alignr_epi8(x, y, 5));
        x = _mm_add_epi64(_mm_mul_epu32(x, y), _mm_sad_epu8(x, _mm_mulhrs_epi16(x, y)));
        y = _mm_blendv_epi8(_mm_packus_epi32(x, y), _mm_sub_epi32(y, x), _mm_cmpgt_epi64(x, y));
        x = _mm_xor_si128(x, _mm_set_epi32((int)_mm_crc32_u64(i, u64[i]), _mm_cmpistri(x, y, 0x0c), _mm_cmpestri(x, i % 17, y, 9, 0x44), _mm_movemask_epi8(y)));
        y = _mm_add_epi16(_mm_minpos_epu16(y), _mm_mpsadbw_epu8(x, y, 3));
        _mm_storeu_si128((void *)out, _mm_xor_si128(x, y));
        printf("%016lx%016lx %d%d\n", out[0], out[1], _mm_testz_si128(x, y), _mm_testc_si128(x, y));
    }
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void sorting(void) {
    static double values[5000];
    for (size_t i = 0; i < COUNT(values); i++) values[i] = (double)next_long_double();
    qsort(values, COUNT(values), sizeof values[0], compare_doubles);
    for (size_t i = 0; i < COUNT(values); i += 100) printf("%a\n", values[i]);
    printf("%016lx\n", mix(1, values, sizeof values));
}

static const struct { const char *name; void (*run)(void); } parts[] = {
    {"long-double", long_double}, {"long-double-functions", long_double_functions}, {"double-functions", double_functions}, {"conversions", conversions},
    {"rounding-and-flags", rounding_and_flags}, {"integer-faults", integer_faults}, {"memory-faults", memory_faults}, {"float-faults", float_faults},
    {"jumps-and-signals", jumps_and_signals}, {"threads", threads}, {"strings", strings}, {"integers", integers}, {"vectors", vectors}, {"sorting", sorting},
};
int main(int count, char **arguments) {
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (count < 2) puts(parts[i].name);
        else if (strcmp(arguments[1], parts[i].name) == 0) parts[i].run();
    }
    return 0;
}
