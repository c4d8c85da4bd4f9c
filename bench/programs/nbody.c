/* Five bodies under gravity, symplectic Euler steps: scalar doubles with square root and division. */
#include "bench.h"
#include <math.h>

enum { BODIES = 5 };
static double at[BODIES][3], speed[BODIES][3], mass[BODIES] = {40, 0.04, 0.01, 0.002, 0.002};

static void step(double dt) {
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double d[3], square = 1e-3;
            for (int k = 0; k < 3; k++) d[k] = at[i][k] - at[j][k], square += d[k] * d[k];
            double pull = dt / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                speed[i][k] -= d[k] * mass[j] * pull;
                speed[j][k] += d[k] * mass[i] * pull;
            }
        }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++) at[i][k] += dt * speed[i][k];
}

int main(int argc, char **argv) {
    long scale = bench_begin("nbody", argc, argv);
    for (int i = 1; i < BODIES; i++) {
        at[i][i % 3] = 5.0 * i;
        speed[i][(i + 1) % 3] = sqrt(40.0 / (5.0 * i));
        speed[i][(i + 2) % 3] = 0.01 * i;
    }
    for (long i = 0; i < 1600 * scale; i++) step(0.001);
    uint64_t sum = 0;
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++) {
            uint64_t bits;
            memcpy(&bits, &at[i][k], 8);
            sum = mix(sum, bits);
        }
    return bench_end(sum);
}
