#include "transfer.hpp"

#include <unistd.h>

#include <cerrno>

namespace mckpt {

Transfer read_fully(int fd, std::span<std::byte> bytes, std::uint64_t offset, std::size_t unit) noexcept {
  Transfer transfer;
  while (transfer.done < bytes.size() && transfer.done % unit == 0) {
    const auto rest = bytes.subspan(transfer.done);
    const ssize_t count = pread(fd, rest.data(), rest.size(), static_cast<off_t>(offset + transfer.done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) transfer.error = errno;
    if (count <= 0) break;
    transfer.done += static_cast<std::size_t>(count);
  }
  return transfer;
}

Transfer write_fully(int fd, bytes_view bytes, std::uint64_t offset, std::size_t unit) noexcept {
  Transfer transfer;
  while (transfer.done < bytes.size()) {
    const auto rest = bytes.subspan(transfer.done);
    const ssize_t count = pwrite(fd, rest.data(), rest.size(), static_cast<off_t>(offset + transfer.done));
    if (count < 0 && errno == EINTR) continue;
    const std::size_t usable = count < 0 ? 0 : static_cast<std::size_t>(count) / unit * unit;
    if (usable == 0) {
      transfer.error = count < 0 ? errno : EIO;
      break;
    }
    transfer.done += usable;
  }
  return transfer;
}

}  // namespace mckpt
