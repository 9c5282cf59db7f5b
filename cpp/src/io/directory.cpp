#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "mckpt/error.hpp"
#include "mckpt/file.hpp"
#include "system_error.hpp"

namespace mckpt {
namespace {

[[noreturn]] void throw_exists(const std::string& target) {
  throw Error(ErrorCode::kExists, "the target of a rename exists", {.path = target, .system_errno = EEXIST});
}

bool exists(const std::string& path) {
  struct stat status{};
  return lstat(path.c_str(), &status) == 0;
}

// For file systems without RENAME_NOREPLACE: somebody may create the target between the check and the rename.
void rename_checked(const std::string& source, const std::string& target) {
  if (exists(target)) throw_exists(target);
  if (std::rename(source.c_str(), target.c_str()) == 0) return;
  if (errno == EEXIST || errno == ENOTEMPTY) throw_exists(target);
  throw_system_error("cannot rename", source, errno);
}

}  // namespace

void sync_directory(const std::string& path) {
  const int fd = uninterrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) throw_system_error("cannot open the directory", path, errno);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) throw_system_error("cannot sync the directory", path, error);
}

bool rename_noreplace(const std::string& source, const std::string& target) {
  if (renameat2(AT_FDCWD, source.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST) throw_exists(target);
  if (errno != EINVAL && errno != ENOSYS) throw_system_error("cannot rename", source, errno);
  rename_checked(source, target);
  return false;
}

}  // namespace mckpt
