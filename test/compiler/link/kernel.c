// What the compiler would have emitted.
int kernel(int x) { return 2 * x; }
