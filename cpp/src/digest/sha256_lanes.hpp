// Many messages of unequal length through kernels that want equal work in every lane.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "isa.hpp"
#include "kernels.hpp"

namespace mckpt::digest {

// One message: the SHA-256 of `size` bytes at `data` goes to the 32 bytes at `digest`.
struct Message {
  const std::byte* data;
  std::size_t size;
  std::byte* digest;
};

// The state after `bytes` bytes, a multiple of the block, with which all messages of a kind begin.
struct Midstate {
  std::array<std::uint32_t, kStateWords> words;
  std::uint64_t bytes;
};

// FIPS 180-4, section 5.3.3.
inline constexpr Midstate kInitialState = {
    {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, 0};

// The state after the domain block of `name`: docs/format.md, section 1. Precondition: name.size() <= 64.
[[nodiscard]] Midstate domain_midstate(std::string_view name) noexcept;

// Hashes every message, each continuing from `start`. Messages may overlap and alias; a digest must not overlap a
// message of the same call. Uses a few KiB of stack, allocates nothing.
void hash_messages(std::span<const Sha256Kernel> kernels, const Midstate& start,
                   std::span<const Message> messages) noexcept;

}  // namespace mckpt::digest
