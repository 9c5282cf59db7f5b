#include "choices.hpp"

#include <cstdlib>

#include "mckpt/error.hpp"

namespace mckpt::python {

namespace {

IoMode parse_io_mode(const char* what, const std::string& name) {
  if (name == "auto") return IoMode::kAuto;
  if (name == "direct") return IoMode::kDirect;
  if (name == "buffered") return IoMode::kBuffered;
  throw Error(ErrorCode::kArgument, std::string(what) + " must be 'auto', 'direct' or 'buffered', not '" + name + "'");
}

}  // namespace

IoMode io_mode(const std::string& name) {
  const IoMode mode = parse_io_mode("io", name);
  const char* value = std::getenv("MCKPT_IO");  // NOLINT(concurrency-mt-unsafe): nothing here sets variables
  return mode == IoMode::kAuto && value != nullptr ? parse_io_mode("MCKPT_IO", value) : mode;
}

Check check_kind(const std::string& name) {
  if (name == "sha256") return Check::kSha256;
  if (name == "crc32c") return Check::kCrc32c;
  if (name == "none") return Check::kNone;
  throw Error(ErrorCode::kArgument, "check must be 'sha256', 'crc32c' or 'none', not '" + name + "'");
}

}  // namespace mckpt::python
