// pread and pwrite until all is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mckpt/digest.hpp"

namespace mckpt {

struct Transfer {
  std::size_t done = 0;
  int error = 0;  // errno of the call that failed, or 0
};

// Both go on after short counts and signals. A count that is no multiple of `unit` (1, or the sector size of direct
// I/O) ends a read, for there the file ends, and is rounded down by a write, for its next part must be aligned.
[[nodiscard]] Transfer read_fully(int fd, std::span<std::byte> bytes, std::uint64_t offset, std::size_t unit) noexcept;
[[nodiscard]] Transfer write_fully(int fd, bytes_view bytes, std::uint64_t offset, std::size_t unit) noexcept;

}  // namespace mckpt
