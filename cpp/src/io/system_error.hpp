// Failed system calls as errors.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string_view>

#include "mckpt/file.hpp"

namespace mckpt {

// Throws kDiskFull for ENOSPC and EDQUOT, otherwise kIo: "<what>: <the system's words>".
[[noreturn]] void throw_system_error(std::string_view what, const std::string& path, int system_errno,
                                     std::int64_t offset = -1);

// Makes a system call until no signal interrupts it, and returns what it returns: negative, with errno, for a failure.
// Not for fsync, which is never repeated, nor for close, after which the descriptor is somebody else's.
template <class Call>
[[nodiscard]] int uninterrupted(Call call) {
  int result = 0;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace mckpt
