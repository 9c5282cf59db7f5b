// Which implementation is in use.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "kernels.hpp"

namespace mckpt::digest {

// The supported implementations, the one in use first.
struct Dispatch {
  std::vector<Sha256Implementation> sha256;
  std::vector<Crc32cImplementation> crc32c;
  std::string warning;  // empty, or what was wrong with the environment
};

// Puts the implementation called `requested` first. Returns a warning naming `variable` if there is none, else "".
template <class Implementation>
[[nodiscard]] std::string prefer(std::vector<Implementation>& implementations, std::string_view requested,
                                 std::string_view variable) {
  const auto found = std::ranges::find(implementations, requested, &Implementation::name);
  if (found == implementations.end()) {
    std::string warning(variable);
    warning.append("=").append(requested).append(" ignored; this CPU can run:");
    for (const Implementation& other : implementations) warning.append(" ").append(other.name);
    return warning;
  }
  std::rotate(implementations.begin(), found, found + 1);
  return {};
}

// Decided at the first call from the CPU and the environment, then constant.
[[nodiscard]] const Dispatch& dispatch() noexcept;

}  // namespace mckpt::digest
