// A run of bytes.
#pragma once

#include <cstdint>

namespace mckpt {

// From `begin` up to, not including, `end`.
struct Range {
  std::uint64_t begin;
  std::uint64_t end;
};

}  // namespace mckpt
