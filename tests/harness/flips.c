// Flips one bit of what a process writes, on its way to the kernel: the process's own memory stays as it is. Preloaded;
// see flips.py. This is what a bus, a controller or a buffer does that fails between the hash and the disk.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct Control {
  int armed;
  int bit;
  long offset;  // in the file
  int hits;
  char name[256];  // the end of the file's path
};

__attribute__((visibility("default"))) struct Control flips_control;

static int is_target(int fd, size_t count, off_t offset) {
  if (!flips_control.armed || offset > flips_control.offset || offset + (off_t)count <= flips_control.offset) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlink, link, path, sizeof path - 1);
  const size_t wanted = strlen(flips_control.name);
  if (length < (long)wanted) return 0;
  path[length] = '\0';
  return strcmp(path + length - wanted, flips_control.name) == 0;
}

static ssize_t write_flipped(int fd, const void* data, size_t count, off_t offset) {
  void* copy = NULL;
  if (posix_memalign(&copy, 4096, count) != 0) {  // aligned, for direct writes
    errno = ENOMEM;
    return -1;
  }
  memcpy(copy, data, count);
  ((unsigned char*)copy)[flips_control.offset - offset] ^= (unsigned char)(1U << flips_control.bit);
  __atomic_add_fetch(&flips_control.hits, 1, __ATOMIC_SEQ_CST);
  const ssize_t written = syscall(SYS_pwrite64, fd, copy, count, offset);
  const int error = errno;
  free(copy);
  errno = error;
  return written;
}

ssize_t pwrite64(int fd, const void* data, size_t count, off_t offset) {
  if (is_target(fd, count, offset)) return write_flipped(fd, data, count, offset);
  return syscall(SYS_pwrite64, fd, data, count, offset);
}

ssize_t pwrite(int fd, const void* data, size_t count, off_t offset) { return pwrite64(fd, data, count, offset); }
