/* A program that may or may not be started. */
int main(void) { return 0; }
