#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "mckpt/error.hpp"
#include "mckpt/file.hpp"
#include "system_error.hpp"
#include "transfer.hpp"

namespace mckpt {
namespace {

constexpr std::size_t kPageBytes = 4096;

struct Alignment {
  std::size_t memory = kPageBytes;
  std::size_t offset = kPageBytes;
};

// What the kernel says (since Linux 6.1), or else a page, which is enough for every common device.
Alignment direct_alignment([[maybe_unused]] int fd) {
#ifdef STATX_DIOALIGN
  struct statx status{};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) != 0)
    return {status.stx_dio_mem_align, status.stx_dio_offset_align};
#endif
  return {};
}

bool is_usable(const Alignment& alignment) {
  return alignment.memory != 0 && alignment.offset != 0 && kPageBytes % alignment.memory == 0 &&
         kPageBytes % alignment.offset == 0;
}

void require_complete(const Transfer& transfer, const char* what, const FileRef& file, std::uint64_t offset) {
  if (transfer.error == 0) return;
  throw_system_error(what, file.path, transfer.error, static_cast<std::int64_t>(offset + transfer.done));
}

}  // namespace

std::optional<DirectFile> DirectFile::open(const FileRef& file, Access access) {
  const Alignment alignment = direct_alignment(file.fd);
  if (!is_usable(alignment)) return std::nullopt;
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd);
  const int mode = access == Access::kRead ? O_RDONLY : O_WRONLY;
  const int fd = uninterrupted([&] { return ::open(link.c_str(), mode | O_DIRECT | O_CLOEXEC); });
  if (fd < 0 && errno == EIO) throw_system_error("cannot open for direct I/O", file.path, errno);
  if (fd < 0) return std::nullopt;
  return DirectFile({fd, file.path}, alignment.memory, alignment.offset);
}

DirectFile::DirectFile(FileRef file, std::size_t memory_alignment, std::size_t offset_alignment)
    : file_(std::move(file)), memory_alignment_(memory_alignment), offset_alignment_(offset_alignment) {}

DirectFile::DirectFile(DirectFile&& other) noexcept
    : file_{std::exchange(other.file_.fd, -1), std::move(other.file_.path)},
      memory_alignment_(other.memory_alignment_),
      offset_alignment_(other.offset_alignment_) {}

DirectFile::~DirectFile() {
  if (file_.fd >= 0) close(file_.fd);
}

bool DirectFile::write(bytes_view bytes, std::uint64_t offset) const {
  const Transfer transfer = write_fully(file_.fd, bytes, offset, offset_alignment_);
  if (transfer.error == EINVAL) return false;
  require_complete(transfer, "cannot write directly", file_, offset);
  return true;
}

bool DirectFile::read(std::span<std::byte> bytes, std::uint64_t offset, std::size_t& done) const {
  const Transfer transfer = read_fully(file_.fd, bytes, offset, offset_alignment_);
  if (transfer.error == EINVAL) return false;
  require_complete(transfer, "cannot read directly", file_, offset);
  done = transfer.done;
  return true;
}

void throw_direct_refused(const FileRef& file) {
  throw Error(ErrorCode::kIo, "the file system refuses direct I/O", {.path = file.path, .system_errno = EINVAL});
}

}  // namespace mckpt
