#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>

#include "mckpt/error.hpp"
#include "mckpt/file.hpp"
#include "system_error.hpp"

namespace mckpt {
namespace {

// As in linux/openat2.h, which older headers lack; the number is the same everywhere.
constexpr long kOpenat2 = 437;
constexpr std::uint64_t kResolveNoSymlinks = 0x04;

struct OpenHow {
  std::uint64_t flags;
  std::uint64_t mode;
  std::uint64_t resolve;
};

constexpr int kSearch = O_PATH | O_DIRECTORY | O_CLOEXEC;

bool is_link(int parent, const char* name) {
  struct stat status{};
  return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
}

// One component. The kernel says ENOTDIR of a link.
int open_step(int parent, const char* name, int flags) {
  const int fd = uninterrupted([&] { return openat(parent, name, flags | O_NOFOLLOW); });
  if (fd < 0 && errno == ENOTDIR) errno = is_link(parent, name) ? ELOOP : ENOTDIR;
  return fd;
}

// Component by component, where there is no openat2.
int walk(const std::string& path, int flags) {
  int fd = open_step(AT_FDCWD, path.starts_with('/') ? "/" : ".", kSearch);
  for (std::size_t begin = 0; fd >= 0 && begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    const int next = open_step(fd, name.c_str(), kSearch);
    const int error = errno;
    close(fd);
    errno = error;
    fd = next;
  }
  if (fd < 0 || flags == kSearch) return fd;
  const int readable = open_step(fd, ".", flags);
  const int error = errno;
  close(fd);
  errno = error;
  return readable;
}

int open_without_links(const std::string& path, int flags) {
  const OpenHow how{.flags = static_cast<std::uint64_t>(flags), .mode = 0, .resolve = kResolveNoSymlinks};
  const int fd =
      uninterrupted([&] { return static_cast<int>(syscall(kOpenat2, AT_FDCWD, path.c_str(), &how, sizeof how)); });
  // ENOSYS of an older kernel, EPERM of a sandbox that is older than the call.
  return fd >= 0 || (errno != ENOSYS && errno != EPERM) ? fd : walk(path, flags);
}

// The directory of a path, open, and the last component.
class Place {
 public:
  explicit Place(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const bool is_bare = slash == std::string::npos;
    name_ = is_bare ? path : path.substr(slash + 1);
    const std::string parent = is_bare ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
    fd_ = open_without_links(parent, kSearch);
    if (fd_ < 0) throw_system_error("cannot open the directory", parent, errno);
  }
  ~Place() { close(fd_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const char* name() const { return name_.c_str(); }
  [[nodiscard]] bool exists() const {
    struct stat status{};
    return fstatat(fd_, name(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  }

 private:
  std::string name_;
  int fd_ = -1;
};

[[noreturn]] void throw_exists(const std::string& target) {
  throw Error(ErrorCode::kExists, "the target of a rename exists", {.path = target, .system_errno = EEXIST});
}

// For file systems without RENAME_NOREPLACE: somebody may create the target between the check and the rename.
// Returns errno.
int rename_checked(const Place& from, const Place& to) {
  if (to.exists()) return EEXIST;
  if (renameat(from.fd(), from.name(), to.fd(), to.name()) == 0) return 0;
  return errno == ENOTEMPTY ? EEXIST : errno;
}

}  // namespace

int open_directory(const std::string& path, bool readable) {
  const int fd = open_without_links(path, readable ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : kSearch);
  if (fd < 0) throw_system_error("cannot open the directory", path, errno);
  return fd;
}

void sync_directory(const std::string& path) {
  const int fd = open_directory(path, true);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) throw_system_error("cannot sync the directory", path, error);
}

bool rename_noreplace(const std::string& source, const std::string& target) {
  const Place from(source);
  const Place to(target);
  int error = 0;
  if (renameat2(from.fd(), from.name(), to.fd(), to.name(), RENAME_NOREPLACE) != 0) error = errno;
  const bool is_atomic = error != EINVAL && error != ENOSYS;
  if (!is_atomic) error = rename_checked(from, to);
  if (error == EEXIST) throw_exists(target);
  if (error != 0) throw_system_error("cannot rename", source, error);
  return is_atomic;
}

}  // namespace mckpt
