/* What `kernel exec` runs: the smallest program that the C library makes. Its status tells that it ran. */
int main(void) { return 7; }
