/* The Mandelbrot set: a short loop of double multiplies, adds and a compare. */
#include "bench.h"

int main(int argc, char **argv) {
    long scale = bench_begin("mandelbrot", argc, argv), rows = 2 * scale;
    uint64_t sum = 0;
    for (long y = 0; y < rows; y++)
        for (int x = 0; x < 800; x++) {
            double cr = x / 320.0 - 2.0, ci = (double)y / rows * 2.4 - 1.2, zr = 0, zi = 0;
            int n = 0;
            for (; n < 160 && zr * zr + zi * zi < 4; n++) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
            }
            sum = mix(sum, (uint64_t)n);
        }
    return bench_end(sum);
}
