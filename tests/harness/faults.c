// Lets chosen calls of the C library fail, fall short or lose their answer. Preloaded into a process; see faults.py.
//
// Calls of all threads are counted together, if they concern a path below the root that the control block names and are
// of a kind that it asks for. Every counted call is written down with what became of it.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kPathBytes = 256, kLogged = 8192, kSector = 4096 };

// Kinds of calls; faults.py has the same list.
enum Kind {
  kOpen,
  kCreate,
  kClose,
  kRead,
  kWrite,
  kSync,
  kAllocate,
  kTruncate,
  kRename,
  kMkdir,
  kUnlink,
  kStat,
  kList,
  kMode,
  kLock,
  kFlock,
  kMap,
  kAdvise,
  kDataSync
};

// What happens to a call.
enum Action {
  kNothing,
  kFail,    // it is not made, and fails; but a descriptor is closed
  kLose,    // it is made, and reported as failed
  kShorten  // it moves one byte, or one sector if it is direct; if all later calls are hit, too, half of what it could
};

struct Call {
  int kind;
  int hit;
  int error;  // 0, or the errno that it ended with
  char path[kPathBytes];
};

struct Control {
  int armed;
  int action;
  int error;
  int lasting;     // whether all later calls are hit, too
  int at;          // which call is hit, counted from 1; 0 for none
  unsigned kinds;  // a bit for each kind that counts
  int count;
  char root[kPathBytes];
  char only[kPathBytes];    // if not empty: only paths that contain it count
  char exempt[kPathBytes];  // if not empty: paths that contain it do not count
  struct Call calls[kLogged];
};

__attribute__((visibility("default"))) struct Control faults_control;

#define REAL(name, ...)          \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

static void path_of(int fd, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlink, link, path, (size_t)kPathBytes - 1);
  path[length < 0 ? 0 : length] = '\0';
}

static void path_at(int directory, const char* name, char* path) {
  const char* const own = "/proc/self/fd/";
  if (name == NULL) name = "";
  if (strncmp(name, own, strlen(own)) == 0) {
    const long length = syscall(SYS_readlink, name, path, (size_t)kPathBytes - 1);
    path[length < 0 ? 0 : length] = '\0';
  } else if (name[0] == '/' || directory == AT_FDCWD) {
    snprintf(path, kPathBytes, "%s", name);
  } else {
    char parent[kPathBytes];
    path_of(directory, parent);
    snprintf(path, kPathBytes, "%.*s/%.*s", kPathBytes / 2, parent, kPathBytes / 2 - 2, name);
  }
}

// A call that is about to be made: whether it counts, and what is to become of it.
struct Verdict {
  struct Call* call;
  int action;
};

static struct Verdict judge(enum Kind kind, const char* path) {
  struct Control* const control = &faults_control;
  struct Verdict verdict = {NULL, kNothing};
  if (!__atomic_load_n(&control->armed, __ATOMIC_ACQUIRE) || (control->kinds >> kind & 1U) == 0) return verdict;
  if (strncmp(path, control->root, strlen(control->root)) != 0) return verdict;
  if (control->only[0] != '\0' && strstr(path, control->only) == NULL) return verdict;
  if (control->exempt[0] != '\0' && strstr(path, control->exempt) != NULL) return verdict;
  const int number = __atomic_add_fetch(&control->count, 1, __ATOMIC_ACQ_REL);
  if (number <= kLogged) {
    verdict.call = &control->calls[number - 1];
    verdict.call->kind = kind;
    verdict.call->error = 0;
    snprintf(verdict.call->path, kPathBytes, "%s", path);
  }
  const int hit = control->at != 0 && (number == control->at || (control->lasting && number > control->at));
  if (verdict.call != NULL) verdict.call->hit = hit;
  if (hit) verdict.action = control->action;
  return verdict;
}

// Whether the call is to be made at all.
static int is_made(struct Verdict verdict) { return verdict.action != kFail; }

// What the call returns, and its errno.
static long result(struct Verdict verdict, long made, long failure) {
  if (verdict.action == kFail || verdict.action == kLose) {
    errno = faults_control.error;
    made = failure;
  }
  if (verdict.call != NULL && made == failure) verdict.call->error = errno;
  return made;
}

static struct Verdict judge_fd(enum Kind kind, int fd) {
  if (!__atomic_load_n(&faults_control.armed, __ATOMIC_ACQUIRE)) return (struct Verdict){NULL, kNothing};
  char path[kPathBytes];
  const int saved = errno;
  path_of(fd, path);
  errno = saved;
  return judge(kind, path);
}

static struct Verdict judge_at(enum Kind kind, int directory, const char* name) {
  if (!__atomic_load_n(&faults_control.armed, __ATOMIC_ACQUIRE)) return (struct Verdict){NULL, kNothing};
  char path[kPathBytes];
  const int saved = errno;
  path_at(directory, name, path);
  errno = saved;
  return judge(kind, path);
}

static size_t shortened(struct Verdict verdict, int fd, size_t count) {
  if (verdict.action != kShorten || count == 0) return count;
  const size_t least = (fcntl(fd, F_GETFL) & O_DIRECT) != 0 ? kSector : 1;
  const size_t half = count / 2 / least * least;
  const size_t most = faults_control.lasting && half > least ? half : least;
  return count < most ? count : most;
}

// --- opening and closing -------------------------------------------------------------------------------------------

static int mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, int) : 0;
}

static enum Kind open_kind(int flags) { return (flags & O_CREAT) != 0 ? kCreate : kOpen; }

#define OPEN(name)                                                             \
  int name(const char* path, int flags, ...) {                                 \
    REAL(name);                                                                \
    va_list arguments;                                                         \
    va_start(arguments, flags);                                                \
    const int mode = mode_of(flags, arguments);                                \
    va_end(arguments);                                                         \
    const struct Verdict verdict = judge_at(open_kind(flags), AT_FDCWD, path); \
    const int fd = is_made(verdict) ? real(path, flags, mode) : -1;            \
    if (verdict.action == kLose && fd >= 0) syscall(SYS_close, fd);            \
    return (int)result(verdict, fd, -1);                                       \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                            \
  int name(int directory, const char* path, int flags, ...) {                   \
    REAL(name);                                                                 \
    va_list arguments;                                                          \
    va_start(arguments, flags);                                                 \
    const int mode = mode_of(flags, arguments);                                 \
    va_end(arguments);                                                          \
    const struct Verdict verdict = judge_at(open_kind(flags), directory, path); \
    const int fd = is_made(verdict) ? real(directory, path, flags, mode) : -1;  \
    if (verdict.action == kLose && fd >= 0) syscall(SYS_close, fd);             \
    return (int)result(verdict, fd, -1);                                        \
  }
OPENAT(openat)
OPENAT(openat64)

long syscall(long number, ...) {  // the C library has no openat2
  REAL(syscall);
  va_list arguments;
  va_start(arguments, number);
  long given[6];
  for (int i = 0; i < 6; ++i) given[i] = va_arg(arguments, long);
  va_end(arguments);
  if (number != SYS_openat2) return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
  const struct Verdict verdict = judge_at(kOpen, (int)given[0], (const char*)given[1]);
  const long fd = is_made(verdict) ? real(number, given[0], given[1], given[2], given[3]) : -1;
  if (verdict.action == kLose && fd >= 0) real(SYS_close, fd);
  return result(verdict, fd, -1);
}

int close(int fd) {  // the kernel closes it, whatever it says
  REAL(close);
  struct Verdict verdict = judge_fd(kClose, fd);
  return (int)result(verdict, real(fd), -1);
}

// --- calls on a descriptor -----------------------------------------------------------------------------------------

#define TRANSFER(name, kind, buffer)                                                                   \
  ssize_t name(int fd, buffer data, size_t count) {                                                    \
    REAL(name);                                                                                        \
    const struct Verdict verdict = judge_fd(kind, fd);                                                 \
    return result(verdict, is_made(verdict) ? real(fd, data, shortened(verdict, fd, count)) : -1, -1); \
  }
TRANSFER(read, kRead, void*)
TRANSFER(write, kWrite, const void*)

#define TRANSFER_AT(name, kind, buffer, offset)                                                            \
  ssize_t name(int fd, buffer data, size_t count, offset at) {                                             \
    REAL(name);                                                                                            \
    const struct Verdict verdict = judge_fd(kind, fd);                                                     \
    return result(verdict, is_made(verdict) ? real(fd, data, shortened(verdict, fd, count), at) : -1, -1); \
  }
TRANSFER_AT(pread, kRead, void*, off_t)
TRANSFER_AT(pread64, kRead, void*, off64_t)
TRANSFER_AT(pwrite, kWrite, const void*, off_t)
TRANSFER_AT(pwrite64, kWrite, const void*, off64_t)

#define ON_FD(kind, name, parameters, arguments)                             \
  int name parameters {                                                      \
    REAL(name);                                                              \
    const struct Verdict verdict = judge_fd(kind, fd);                       \
    return (int)result(verdict, is_made(verdict) ? real arguments : -1, -1); \
  }
ON_FD(kSync, fsync, (int fd), (fd))
ON_FD(kDataSync, fdatasync, (int fd), (fd))
ON_FD(kAllocate, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
ON_FD(kTruncate, ftruncate, (int fd, off_t length), (fd, length))
ON_FD(kTruncate, ftruncate64, (int fd, off64_t length), (fd, length))
ON_FD(kStat, fstat, (int fd, struct stat* status), (fd, status))
ON_FD(kStat, fstat64, (int fd, struct stat64* status), (fd, status))
ON_FD(kMode, fchmod, (int fd, mode_t mode), (fd, mode))
ON_FD(kFlock, flock, (int fd, int operation), (fd, operation))

int fcntl64(int fd, int command, ...) {
  REAL(fcntl64);
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (command != F_SETLK && command != F_SETLKW) return real(fd, command, argument);
  const struct Verdict verdict = judge_fd(kLock, fd);
  return (int)result(verdict, is_made(verdict) ? real(fd, command, argument) : -1, -1);
}

#define ADVISE(name, offset_type)                                                             \
  int name(int fd, offset_type offset, offset_type length, int advice) {                      \
    REAL(name);                                                                               \
    const struct Verdict verdict = judge_fd(kAdvise, fd);                                     \
    return verdict.action == kFail ? faults_control.error : real(fd, offset, length, advice); \
  }
ADVISE(posix_fadvise, off_t)
ADVISE(posix_fadvise64, off64_t)

#define MAP(name, offset_type)                                                                               \
  void* name(void* address, size_t length, int protection, int flags, int fd, offset_type offset) {          \
    REAL(name);                                                                                              \
    if (fd < 0) return real(address, length, protection, flags, fd, offset);                                 \
    const struct Verdict verdict = judge_fd(kMap, fd);                                                       \
    void* const made = is_made(verdict) ? real(address, length, protection, flags, fd, offset) : MAP_FAILED; \
    return (void*)result(verdict, (long)made, (long)MAP_FAILED);                                             \
  }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

// --- calls on a path -----------------------------------------------------------------------------------------------

#define ON_PATH(kind, name, directory, parameters, arguments)                \
  int name parameters {                                                      \
    REAL(name);                                                              \
    const struct Verdict verdict = judge_at(kind, directory, path);          \
    return (int)result(verdict, is_made(verdict) ? real arguments : -1, -1); \
  }
ON_PATH(kMkdir, mkdir, AT_FDCWD, (const char* path, mode_t mode), (path, mode))
ON_PATH(kMkdir, mkdirat, directory, (int directory, const char* path, mode_t mode), (directory, path, mode))
ON_PATH(kUnlink, unlink, AT_FDCWD, (const char* path), (path))
ON_PATH(kUnlink, rmdir, AT_FDCWD, (const char* path), (path))
ON_PATH(kUnlink, unlinkat, directory, (int directory, const char* path, int flags), (directory, path, flags))
ON_PATH(kRename, rename, AT_FDCWD, (const char* path, const char* target), (path, target))
ON_PATH(kRename, renameat, directory, (int directory, const char* path, int other, const char* target),
        (directory, path, other, target))
ON_PATH(kRename, renameat2, directory,
        (int directory, const char* path, int other, const char* target, unsigned int flags),
        (directory, path, other, target, flags))
ON_PATH(kStat, stat, AT_FDCWD, (const char* path, struct stat* status), (path, status))
ON_PATH(kStat, stat64, AT_FDCWD, (const char* path, struct stat64* status), (path, status))
ON_PATH(kStat, lstat, AT_FDCWD, (const char* path, struct stat* status), (path, status))
ON_PATH(kStat, lstat64, AT_FDCWD, (const char* path, struct stat64* status), (path, status))
ON_PATH(kStat, fstatat64, directory, (int directory, const char* path, struct stat64* status, int flags),
        (directory, path, status, flags))
ON_PATH(kStat, statvfs64, AT_FDCWD, (const char* path, struct statvfs64* status), (path, status))
ON_PATH(kMode, chmod, AT_FDCWD, (const char* path, mode_t mode), (path, mode))
ON_PATH(kMode, fchmodat, directory, (int directory, const char* path, mode_t mode, int flags),
        (directory, path, mode, flags))

// --- directories ---------------------------------------------------------------------------------------------------

DIR* opendir(const char* path) {
  REAL(opendir);
  const struct Verdict verdict = judge_at(kList, AT_FDCWD, path);
  return (DIR*)result(verdict, (long)(is_made(verdict) ? real(path) : NULL), (long)NULL);
}

struct dirent64* readdir64(DIR* directory) {  // errno tells the end from an error
  REAL(readdir64);
  const struct Verdict verdict = judge_fd(kList, dirfd(directory));
  if (verdict.action == kNothing) return real(directory);
  return (struct dirent64*)result(verdict, (long)NULL, (long)NULL);
}
