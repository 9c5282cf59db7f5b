#include "mckpt/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "mckpt/error.hpp"
#include "system_error.hpp"
#include "transfer.hpp"

namespace mckpt {
namespace {

// Returns errno.
int allocate(const FileRef& file, std::uint64_t size) {
  return uninterrupted([&] { return fallocate(file.fd, 0, 0, static_cast<off_t>(size)); }) == 0 ? 0 : errno;
}

// As in linux/magic.h, which lacks some.
constexpr auto kLocalFileSystems = std::to_array<std::uint32_t>({
    0xEF53,      // ext2, ext3, ext4
    0x58465342,  // XFS
    0x9123683E,  // btrfs
    0xF2F52010,  // F2FS
    0xCA451A4E,  // bcachefs
    0x2FC12FC1,  // ZFS
    0x01021994,  // tmpfs
    0x794C7630,  // overlay
});

bool is_unsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL; }

}  // namespace

std::uint64_t file_size(const FileRef& file) {
  struct stat status{};
  if (fstat(file.fd, &status) != 0) throw_system_error("cannot read the file's size", file.path, errno);
  return static_cast<std::uint64_t>(status.st_size);
}

bool is_on_local_disk(const FileRef& file) noexcept {
  struct statfs status{};
  if (fstatfs(file.fd, &status) != 0) return false;
  return std::ranges::find(kLocalFileSystems, static_cast<std::uint32_t>(status.f_type)) != kLocalFileSystems.end();
}

void preallocate(const FileRef& file, std::uint64_t size) {
  const int error = size == 0 ? 0 : allocate(file, size);
  if (error != 0 && !is_unsupported(error)) throw_system_error("cannot allocate the file", file.path, error);
  if (file_size(file) == size) return;
  if (uninterrupted([&] { return ftruncate(file.fd, static_cast<off_t>(size)); }) != 0)
    throw_system_error("cannot set the file's size", file.path, errno);
}

void write_all(const FileRef& file, bytes_view bytes, std::uint64_t offset) {
  const Transfer transfer = write_fully(file.fd, bytes, offset, 1);
  if (transfer.error != 0)
    throw_system_error("cannot write", file.path, transfer.error, static_cast<std::int64_t>(offset + transfer.done));
}

void read_all(const FileRef& file, std::span<std::byte> bytes, std::uint64_t offset) {
  const Transfer transfer = read_fully(file.fd, bytes, offset, 1);
  const auto end = static_cast<std::int64_t>(offset + transfer.done);
  if (transfer.error != 0) throw_system_error("cannot read", file.path, transfer.error, end);
  if (transfer.done < bytes.size())
    throw Error(ErrorCode::kTruncated, "the file ends early", {.path = file.path, .offset = end});
}

void sync_file(const FileRef& file) {
  if (fsync(file.fd) != 0) throw_system_error("cannot sync the file", file.path, errno);
}

void advise_read(const FileRef& file, std::uint64_t offset, std::uint64_t length) noexcept {
  posix_fadvise(file.fd, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
}

void drop_cache(const FileRef& file) {
  const int error = posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
  if (error != 0) throw_system_error("cannot drop the file's cache", file.path, error);
}

}  // namespace mckpt
