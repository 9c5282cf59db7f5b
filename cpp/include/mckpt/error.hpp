// The one exception of the core.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace mckpt {

enum class ErrorCode {
  kIo,         // a system call failed; system_errno says how
  kDiskFull,   // ENOSPC or EDQUOT
  kTruncated,  // the file ends before the bytes that were asked for
  kCorrupt,    // a digest or checksum differs
  kExists,     // the target of a rename exists
  kArgument,   // the caller broke a precondition
  kDevice,     // an accelerator failed, or is not there
};

// Where something went wrong. `offset` is a file offset in bytes, -1 if unknown; `tensor` may be empty.
struct ErrorContext {
  std::string path = {};
  std::string tensor = {};
  std::int64_t offset = -1;
  int system_errno = 0;
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, ErrorContext context = {})
      : std::runtime_error(message), code_(code), context_(std::move(context)) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const ErrorContext& context() const noexcept { return context_; }

 private:
  ErrorCode code_;
  ErrorContext context_;
};

}  // namespace mckpt
