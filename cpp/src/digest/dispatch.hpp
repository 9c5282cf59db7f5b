// Which implementation is in use.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "kernels.hpp"

namespace mckpt::digest {

// A name from the environment; its beginning, if it is long.
class RequestedName {
 public:
  RequestedName() noexcept = default;
  explicit RequestedName(std::string_view name) noexcept : size_(std::min(name.size(), name_.size())) {
    std::copy_n(name.begin(), size_, name_.begin());
  }

  [[nodiscard]] std::string_view view() const noexcept { return {name_.data(), size_}; }

 private:
  std::array<char, 32> name_{};
  std::size_t size_ = 0;
};

// The supported implementations, the one in use first.
struct Dispatch {
  Ranking<Sha256Implementation> sha256;
  Ranking<Crc32cImplementation> crc32c;
  RequestedName unknown_sha256;  // what the environment asked for in vain, or empty
  RequestedName unknown_crc32c;
};

// Puts the implementation called `requested` first. Returns whether there is one.
template <class Implementation>
[[nodiscard]] bool prefer(Ranking<Implementation>& implementations, std::string_view requested) noexcept {
  const auto found = std::ranges::find(implementations, requested, &Implementation::name);
  if (found == implementations.end()) return false;
  std::rotate(implementations.begin(), found, found + 1);
  return true;
}

// What to say of a request for an implementation that there is not.
template <class Implementation>
[[nodiscard]] std::string warning_of(const Ranking<Implementation>& implementations, std::string_view requested,
                                     std::string_view variable) {
  std::string warning(variable);
  warning.append("=").append(requested).append(" ignored; this CPU can run:");
  for (const Implementation& other : implementations) warning.append(" ").append(other.name);
  return warning;
}

// Decided at the first call from the CPU and the environment, then constant.
[[nodiscard]] const Dispatch& dispatch() noexcept;

}  // namespace mckpt::digest
