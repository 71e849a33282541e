/* Races the check of an exec: argument lists change between the system call and the new image, or after it.
 *
 * usage: flipper WAY COUNT TOOL     WAY: thread page vfork untraced mem writev
 * Executes TOOL with "good" or "evil", whichever stands in shared memory at that moment. TOOL prints its argument.
 * `mem` and `writev` execute it with "good", and another process writes "evil" over that, on the new image's own stack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNTRACED 0x00800000

static char *word;           /* the argument, shared */
static volatile int *target; /* the process whose stack is to be written, shared */

static void *flip(void *unused) {
  (void)unused;
  int evil, good;
  memcpy(&evil, "evil", 4);
  memcpy(&good, "good", 4);
  volatile int *shared = (volatile int *)word;
  for (;;) {
    *shared = evil;
    for (volatile int i = 0; i < 50; i++) {}
    *shared = good;
    for (volatile int i = 0; i < 50; i++) {}
  }
  return NULL;
}

/* Field 48 of /proc/PID/stat: where the arguments of the image begin. */
static unsigned long arguments_of(int pid) {
  char name[64], text[2048];
  snprintf(name, sizeof name, "/proc/%d/stat", pid);
  int fd = open(name, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return 0;
  text[size] = 0;
  char *field = strrchr(text, ')');
  for (int i = 2; field && i < 48; i++) field = strchr(field + 1, ' ');
  return field ? strtoul(field + 1, NULL, 10) : 0;
}

static void overwrite(int pid, unsigned long address, int by_mem) {
  if (by_mem) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/mem", pid);
    int fd = open(name, O_RDWR);
    if (fd < 0) return;
    if (pwrite(fd, "evil", 4, (off_t)address) < 0) errno = 0;
    close(fd);
    return;
  }
  struct iovec from = {"evil", 4}, to = {(void *)address, 4};
  syscall(SYS_process_vm_writev, pid, &from, 1UL, &to, 1UL, 0UL);
}

static void chase(const char *tool, int by_mem) {
  unsigned long own = arguments_of(getpid());
  for (;;) {
    int pid = *target;
    unsigned long begin = pid ? arguments_of(pid) : 0;
    if (begin && begin != own) overwrite(pid, begin + strlen(tool) + 1, by_mem);
  }
}

static void run(const char *tool) {
  char *argv[] = {(char *)tool, word, NULL};
  char *envp[] = {NULL};
  execve(tool, argv, envp);
  _exit(7);
}

/* Starts what changes the arguments; its process, or 0 where it is a thread. */
static pid_t changing(const char *way, const char *tool) {
  int chasing = !strcmp(way, "mem") || !strcmp(way, "writev");
  if (chasing || !strcmp(way, "page")) {
    pid_t pid = fork();
    if (pid == 0) {
      if (chasing) chase(tool, !strcmp(way, "mem"));
      flip(NULL);
    }
    return pid;
  }
  pthread_t thread; /* with vfork it goes on in the parent's memory, which the child uses */
  if (pthread_create(&thread, NULL, flip, NULL)) exit(3);
  return 0;
}

/* The child of vfork runs on this stack, so it must not return from here. */
static pid_t start(const char *way, const char *tool) {
  pid_t pid;
  if (!strcmp(way, "vfork")) pid = vfork();
  else if (!strcmp(way, "untraced")) pid = (pid_t)syscall(SYS_clone, SIGCHLD | UNTRACED, 0, 0, 0, 0);
  else pid = fork();
  if (pid == 0) run(tool);
  return pid;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const char *way = argv[1];
  int count = atoi(argv[2]), refused = 0, ran = 0, other = 0;
  word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  target = (volatile int *)(word + 2048);
  strcpy(word, "good");
  pid_t helper = changing(way, argv[3]);
  for (int i = 0; i < count; i++) {
    pid_t pid = start(way, argv[3]);
    if (pid < 0) { refused++; continue; }
    *target = pid;
    int status;
    if (waitpid(pid, &status, 0) != pid) return 4;
    *target = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ran++;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) refused++;
    else other++;
  }
  if (helper) kill(helper, SIGKILL);
  fprintf(stderr, "way %s ran %d refused %d other %d\n", way, ran, refused, other);
  return 0;
}
