/* Races the check of an exec: argument lists change between the system call and the new image.
 *
 * usage: flipper WAY COUNT TOOL     WAY: thread page vfork untraced
 * Executes TOOL with "good" or "evil", whichever stands in shared memory at that moment. TOOL prints its argument.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *word;

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

static void run(const char *tool) {
  char *argv[] = {(char *)tool, word, NULL};
  char *envp[] = {NULL};
  execve(tool, argv, envp);
  _exit(7);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const char *way = argv[1];
  int count = atoi(argv[2]), refused = 0, ran = 0, other = 0;
  word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  strcpy(word, "good");
  pid_t flipping = 0;
  if (!strcmp(way, "page")) { /* another process writes the page that the arguments are copied from */
    flipping = fork();
    if (flipping == 0) flip(NULL);
  } else { /* a thread does; with vfork it goes on in the parent's memory, which the child uses */
    pthread_t thread;
    if (pthread_create(&thread, NULL, flip, NULL)) return 3;
  }
  for (int i = 0; i < count; i++) {
    pid_t pid;
    if (!strcmp(way, "vfork")) {
      pid = vfork();
    } else if (!strcmp(way, "untraced")) {
      pid = (pid_t)syscall(SYS_clone, SIGCHLD | 0x00800000, 0, 0, 0, 0);
      if (pid < 0) { refused++; continue; }
    } else {
      pid = fork();
    }
    if (pid == 0) run(argv[3]);
    int status;
    if (waitpid(pid, &status, 0) != pid) return 4;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ran++;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) refused++;
    else other++;
  }
  if (flipping) kill(flipping, SIGKILL);
  fprintf(stderr, "way %s ran %d refused %d other %d\n", way, ran, refused, other);
  return 0;
}
