// Locks that hold nobody off, and say that they do: as on file systems that accept every lock and keep none. Preloaded
// into a process; see lying_locks.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>

int flock(int fd, int operation) {
  (void)fd, (void)operation;
  return 0;
}

int lockf(int fd, int command, off_t length) {
  (void)fd, (void)command, (void)length;
  return 0;
}

// Whoever asks what is in the way of a lock hears: nothing.
static int lie(int command, struct flock* lock) {
  if (command == F_GETLK || command == F_OFD_GETLK) lock->l_type = F_UNLCK;
  return 0;
}

static int is_about_locks(int command) {
  switch (command) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return 1;
    default:
      return 0;
  }
}

#define FCNTL(name)                                                                        \
  int name(int fd, int command, ...) {                                                     \
    static __typeof__(&name) real;                                                         \
    if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, #name);                    \
    va_list arguments;                                                                     \
    va_start(arguments, command);                                                          \
    void* const argument = va_arg(arguments, void*);                                       \
    va_end(arguments);                                                                     \
    return is_about_locks(command) ? lie(command, argument) : real(fd, command, argument); \
  }
FCNTL(fcntl)
FCNTL(fcntl64)
