// Numbers from the environment.
#pragma once

#include <cstddef>
#include <optional>

namespace mckpt {

// Value of an environment variable, empty if it is not set; kArgument if it is no positive decimal number.
[[nodiscard]] std::optional<std::size_t> environment_number(const char* name);

}  // namespace mckpt
