// Failed system calls as errors.
#pragma once

#include <cstdint>
#include <string_view>

#include "mckpt/file.hpp"

namespace mckpt {

// Throws kDiskFull for ENOSPC and EDQUOT, otherwise kIo: "<what>: <the system's words>".
[[noreturn]] void throw_system_error(std::string_view what, const std::string& path, int system_errno,
                                     std::int64_t offset = -1);

}  // namespace mckpt
