#include "system_error.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include "mckpt/error.hpp"

namespace mckpt {

void throw_system_error(std::string_view what, const std::string& path, int system_errno, std::int64_t offset) {
  const bool is_full = system_errno == ENOSPC || system_errno == EDQUOT;
  throw Error(is_full ? ErrorCode::kDiskFull : ErrorCode::kIo,
              std::string(what) + ": " + std::generic_category().message(system_errno),
              {.path = path, .offset = offset, .system_errno = system_errno});
}

}  // namespace mckpt
