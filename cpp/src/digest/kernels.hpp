// The implementations that this CPU can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cpu_features.hpp"

namespace mckpt::digest {

// A SHA-256 compression function over `lanes` independent messages at once. See isa.hpp for `compress`.
struct Sha256Kernel {
  std::size_t lanes;
  std::size_t min_busy;  // with fewer busy lanes than this, the next narrower kernel is faster
  void (*compress)(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;
};

// Kernels that work together, widest first; the last one has one lane.
struct Sha256Implementation {
  std::string_view name;
  std::span<const Sha256Kernel> kernels;
};

struct Crc32cImplementation {
  std::string_view name;
  std::uint32_t (*extend)(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept;
};

// No kernel is wider.
inline constexpr std::size_t kMaxLanes = 16;

// What a CPU with these features can run, best first; never empty.
[[nodiscard]] std::vector<Sha256Implementation> supported_sha256(const CpuFeatures& cpu);
[[nodiscard]] std::vector<Crc32cImplementation> supported_crc32c(const CpuFeatures& cpu);

// What this CPU can run, whatever the environment says.
[[nodiscard]] inline std::vector<Sha256Implementation> supported_sha256() {
  return supported_sha256(detect_cpu_features());
}
[[nodiscard]] inline std::vector<Crc32cImplementation> supported_crc32c() {
  return supported_crc32c(detect_cpu_features());
}

}  // namespace mckpt::digest
