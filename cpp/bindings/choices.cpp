#include "choices.hpp"

#include "mckpt/error.hpp"

namespace mckpt::python {

IoMode io_mode(const std::string& name) {
  if (name == "auto") return IoMode::kAuto;
  if (name == "direct") return IoMode::kDirect;
  if (name == "buffered") return IoMode::kBuffered;
  throw Error(ErrorCode::kArgument, "io must be 'auto', 'direct' or 'buffered', not '" + name + "'");
}

Check check_kind(const std::string& name) {
  if (name == "sha256") return Check::kSha256;
  if (name == "crc32c") return Check::kCrc32c;
  if (name == "none") return Check::kNone;
  throw Error(ErrorCode::kArgument, "check must be 'sha256', 'crc32c' or 'none', not '" + name + "'");
}

}  // namespace mckpt::python
