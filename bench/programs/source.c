/* source LINES: prints a C program of about that many lines, the same everywhere, which prints a number when it is run.
 * source LINES DIRECTORY FILES: writes it into so many files of that many lines each, with a Makefile that builds `program`. Input for compilers. */
#include "bench.h"
#include <sys/stat.h>

enum { LINES_PER_FUNCTION = 77 };
static unsigned pick(unsigned n) { return (unsigned)(random_u64() >> 33) % n; }

static void statement(FILE *out, int indent) {
    static const char *operators[] = {"+", "-", "^", "|", "&", "*"};
    fprintf(out, "%*s", indent, "");
    switch (pick(6)) {
    case 0: fprintf(out, "t[%u] %s= a >> %u;\n", pick(8), operators[pick(6)], pick(31) + 1); break;
    case 1: fprintf(out, "b = (b << %u | b >> %u) %s t[i & 7];\n", 5u, 59u, operators[pick(6)]); break;
    case 2: fprintf(out, "if ((a ^ t[%u]) %% %u == %u) b += %u, s.count++;\n", pick(8), pick(90) + 7, pick(7), pick(10000)); break;
    case 3: fprintf(out, "s.total += (double)(t[%u] & 0xffff) * %u.%u;\n", pick(8), pick(50), pick(1000)); break;
    case 4: fprintf(out, "for (unsigned k = 0; k < %u; k++) t[k & 7] += a %s (b + k);\n", pick(9) + 2, operators[pick(6)]); break;
    default: fprintf(out, "a = mix(a %s b, t[(a >> %u) & 7]);\n", operators[pick(6)], pick(40)); break;
    }
}

/* What most lines of a real program's translation unit are: types, prototypes and tables. */
static void declarations(FILE *out, long number) {
    static const char *types[] = {"int", "unsigned char", "uint64_t", "const char *", "double", "struct state *"};
    fprintf(out, "struct record%ld {\n", number);
    for (int i = 0; i < 9; i++) fprintf(out, "    %s field%d%s;\n", types[pick(6)], i, pick(4) == 0 ? "[4]" : "");
    fprintf(out, "};\nstatic const unsigned table%ld[] = {\n", number);
    for (int i = 0; i < 8; i++) fprintf(out, "    %u, %u, %u, %u,\n", pick(1000), pick(1000), pick(1000), pick(1000));
    fprintf(out, "};\n");
    for (int i = 0; i < 6; i++)
        fprintf(out, "extern %s declared%ld_%d(const struct record%ld *, %s, %s);\n", types[pick(6)], number, i, number, types[pick(6)], types[pick(6)]);
    fprintf(out, "static inline unsigned look_up%ld(uint64_t at) {\n    return table%ld[at %% 32];\n}\n", number, number);
}

static void function(FILE *out, long number) {
    declarations(out, 2 * number);
    declarations(out, 2 * number + 1);
    fprintf(out, "uint64_t f%ld(uint64_t a, uint64_t b) {\n    struct state s = {0, %u, 0};\n    uint64_t t[8] = {%u, a, b, %u};\n", number, pick(100), pick(1000), pick(1000));
    fprintf(out, "    for (unsigned i = 0; i < %u; i++) {\n        switch ((a >> i ^ b) & 3) {\n", pick(20) + 5);
    for (int i = 0; i < 3; i++) {
        fprintf(out, "        case %d:\n", i);
        statement(out, 12);
        fprintf(out, "            break;\n");
    }
    fprintf(out, "        }\n");
    statement(out, 8);
    fprintf(out, "        b += look_up%ld(a);\n", 2 * number);
    fprintf(out, "    }\n    return a ^ b ^ t[1] ^ s.count ^ (uint64_t)s.total;\n}\n");
}

static void head(FILE *out) {
    fprintf(out, "#include <stdint.h>\n#include <stdio.h>\nstruct state { unsigned count, seed; double total; };\n");
    fprintf(out, "static inline uint64_t mix(uint64_t a, uint64_t b) { return (a ^ b) * 1099511628211u; }\n");
}

static void main_function(FILE *out, long functions) {
    for (long i = 0; i < functions; i++) fprintf(out, "uint64_t f%ld(uint64_t, uint64_t);\n", i);
    fprintf(out, "int main(void) {\n    uint64_t sum = 0;\n");
    for (long i = 0; i < functions; i++) fprintf(out, "    sum = mix(sum, f%ld(sum, %ld));\n", i, i);
    fprintf(out, "    printf(\"%%016llx\\n\", (unsigned long long)sum);\n    return 0;\n}\n");
}

static FILE *create(const char *directory, const char *format, long number) {
    char path[4096], name[64];
    snprintf(name, sizeof name, format, number);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        perror(path);
        exit(1);
    }
    return out;
}

int main(int argc, char **argv) {
    long lines = argc > 1 ? atol(argv[1]) : 1000, files = argc > 3 ? atol(argv[3]) : 0;
    long each = lines / LINES_PER_FUNCTION + 1;
    if (files == 0) {
        head(stdout);
        for (long i = 0; i < each; i++) function(stdout, i);
        main_function(stdout, each);
        return 0;
    }
    mkdir(argv[2], 0777);
    FILE *makefile = create(argv[2], "Makefile", 0), *main_file = create(argv[2], "main.c", 0);
    head(main_file);
    main_function(main_file, each * files);
    fclose(main_file);
    fprintf(makefile, "CC = gcc\nCFLAGS = -O1\nprogram: main.o");
    for (long f = 0; f < files; f++) {
        FILE *out = create(argv[2], "part%ld.c", f);
        head(out);
        for (long i = 0; i < each; i++) function(out, f * each + i);
        fclose(out);
        fprintf(makefile, " part%ld.o", f);
    }
    fprintf(makefile, "\n\t$(CC) -o $@ $^\n");
    return fclose(makefile);
}
