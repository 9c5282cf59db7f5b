#include "environment.hpp"

#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

#include "mckpt/error.hpp"

namespace mckpt {

std::optional<std::size_t> environment_number(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets variables
  if (value == nullptr) return std::nullopt;
  const std::string_view text(value);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number == 0)
    throw Error(ErrorCode::kArgument, std::string(name) + "=" + value + " is not a positive number");
  return number;
}

}  // namespace mckpt
