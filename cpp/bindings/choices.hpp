// The string arguments that choose between modes.
#pragma once

#include <string>

#include "mckpt/file.hpp"
#include "mckpt/reader.hpp"

namespace mckpt::python {

// "auto", "direct", "buffered"; kArgument for anything else.
[[nodiscard]] IoMode io_mode(const std::string& name);

// "sha256", "crc32c", "none"; kArgument for anything else.
[[nodiscard]] Check check_kind(const std::string& name);

}  // namespace mckpt::python
