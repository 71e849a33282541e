/* Makes operations inside a sandbox and tells what the kernel said. It knows no policy and no expectation.
 *
 * stdin:  one operation a line: NUMBER KIND WORD...      the words in hexadecimal, so that any name can be said
 * stdout: one answer a line:    NUMBER ERRNO [HEX...]     the content read, the names listed, or nothing
 *
 * Kinds: read write append create delete rename mkdir rmdir list stat exec connect (a pathname socket).
 * `create` makes missing parents first. `rename` copies where the kernel says EXDEV, as mv does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 40
#define NOT_STARTED 99

static char *word[WORDS + 1];
static int count;
static char content[4096];

static void hex(const char *data, size_t size) {
  printf(" ");
  for (size_t i = 0; i < size; i++) printf("%02x", (unsigned char)data[i]);
}

static char *plain(const char *text) {
  size_t size = strlen(text) / 2;
  char *made = calloc(1, size + 1);
  for (size_t i = 0; i < size; i++) {
    unsigned value;
    sscanf(text + 2 * i, "%2x", &value);
    made[i] = (char)value;
  }
  return made;
}

static int put(const char *path, int flags, const char *data) {
  int fd = open(path, flags, 0666);
  if (fd < 0) return errno;
  ssize_t size = (ssize_t)strlen(data);
  int failed = write(fd, data, (size_t)size) == size ? 0 : errno;
  close(fd);
  return failed;
}

static ssize_t get(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -1;
  ssize_t size = read(fd, content, sizeof content - 1);
  int failed = errno;
  close(fd);
  errno = failed;
  if (size >= 0) content[size] = 0;
  return size;
}

static int create(char *path, const char *data) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(path, 0777);
    *slash = '/';
  }
  return put(path, O_WRONLY | O_CREAT | O_EXCL, data);
}

static int move(const char *from, const char *to) {
  if (rename(from, to) == 0) return 0;
  if (errno != EXDEV) return errno;
  if (get(from) < 0) return errno;
  int failed = put(to, O_WRONLY | O_CREAT, content);
  if (failed) return failed;
  return unlink(from) ? errno : 0;
}

static int start(void) {
  char *environment[] = {"PATH=/usr/bin", NULL};
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    execve(word[0], &word[1], environment);
    _exit(NOT_STARTED);
  }
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return errno;
  if (WIFEXITED(status)) return WEXITSTATUS(status) == NOT_STARTED ? ENOENT : 0;
  return EPERM; /* killed before its first instruction */
}

static int reach(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  int failed = connect(fd, (struct sockaddr *)&address, sizeof address) ? errno : 0;
  close(fd);
  return failed;
}

static int one(const char *kind) {
  struct stat found;
  if (!strcmp(kind, "read")) return get(word[0]) < 0 ? errno : 0;
  if (!strcmp(kind, "write")) return put(word[0], O_WRONLY | O_TRUNC, word[1]);
  if (!strcmp(kind, "append")) return put(word[0], O_WRONLY | O_APPEND, word[1]);
  if (!strcmp(kind, "create")) return create(word[0], word[1]);
  if (!strcmp(kind, "delete")) return unlink(word[0]) ? errno : 0;
  if (!strcmp(kind, "rename")) return move(word[0], word[1]);
  if (!strcmp(kind, "mkdir")) return mkdir(word[0], 0777) ? errno : 0;
  if (!strcmp(kind, "rmdir")) return rmdir(word[0]) ? errno : 0;
  if (!strcmp(kind, "list")) return access(word[0], R_OK) ? errno : 0;
  if (!strcmp(kind, "stat")) return stat(word[0], &found) ? errno : 0;
  if (!strcmp(kind, "exec")) return start();
  if (!strcmp(kind, "connect")) return reach(word[0]);
  return EINVAL;
}

static int names(void) {
  DIR *directory = opendir(word[0]);
  if (!directory) return errno;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) hex(entry->d_name, strlen(entry->d_name));
  closedir(directory);
  return 0;
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  umask(022);
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  while (getline(&line, &room, stdin) > 0) {
    char *number = strtok(line, " \n"), *kind = strtok(NULL, " \n");
    if (!number || !kind) continue;
    for (count = 0; count < WORDS && (word[count] = strtok(NULL, " \n")); count++) word[count] = plain(word[count]);
    word[count] = NULL;
    content[0] = 0;
    fflush(stdout);
    if (!strcmp(kind, "list")) {
      printf("%s list", number);
      int failed = names();
      printf("\n%s %d\n", number, failed);
      continue;
    }
    int failed = one(kind);
    printf("%s %d", number, failed);
    if (!failed && !strcmp(kind, "read")) hex(content, strlen(content));
    printf("\n");
  }
  return 0;
}
