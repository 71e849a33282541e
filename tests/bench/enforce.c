/* What bench_enforce.py measures inside and outside of a sandbox; each prints the microseconds that it took.
 *
 * usage: enforce exec COUNT TOOL [WORDS...]     microseconds for each start of TOOL, which ends at once
 *        enforce read PATH                      the whole file, 1 MiB at a time
 *        enforce write PATH MIB                 a new file of that size, and fsync
 *        enforce end                            nothing: the TOOL
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char block[1 << 20];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int starts(int count, char **argv) {
  for (int i = 0; i < count; i++) {
    pid_t pid = vfork();
    if (pid == 0) {
      execv(argv[0], argv);
      _exit(99);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || status) return 1;
  }
  return 0;
}

static int reads(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 1;
  ssize_t size;
  while ((size = read(fd, block, sizeof block)) > 0) {}
  close(fd);
  return size < 0;
}

static int writes(const char *path, int mib) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return 1;
  for (int i = 0; i < mib; i++)
    if (write(fd, block, sizeof block) != sizeof block) return 1;
  int failed = fsync(fd);
  close(fd);
  return failed;
}

int main(int argc, char **argv) {
  if (argc < 3) return 0;
  double began = now();
  int failed = 2, each = 1;
  if (!strcmp(argv[1], "exec") && argc > 3) {
    each = atoi(argv[2]);
    failed = starts(each, argv + 3);
  } else if (!strcmp(argv[1], "read")) {
    failed = reads(argv[2]);
  } else if (!strcmp(argv[1], "write") && argc > 3) {
    failed = writes(argv[2], atoi(argv[3]));
  }
  if (failed) return failed;
  printf("%.1f\n", (now() - began) / each);
  return 0;
}
