// The implementations that this CPU can run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

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

// Implementations, best first. Hashing must not fail, so that choosing how to hash must not allocate.
template <class Implementation>
class Ranking {
 public:
  using value_type = Implementation;

  constexpr void push_back(const Implementation& implementation) noexcept { items_[size_++] = implementation; }

  [[nodiscard]] constexpr Implementation* begin() noexcept { return items_.data(); }
  [[nodiscard]] constexpr Implementation* end() noexcept { return items_.data() + size_; }
  [[nodiscard]] constexpr const Implementation* begin() const noexcept { return items_.data(); }
  [[nodiscard]] constexpr const Implementation* end() const noexcept { return items_.data() + size_; }
  [[nodiscard]] constexpr const Implementation& front() const noexcept { return items_.front(); }
  [[nodiscard]] constexpr const Implementation& back() const noexcept { return items_[size_ - 1]; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t kCapacity = 4;  // an architecture has three at most

  std::array<Implementation, kCapacity> items_{};
  std::size_t size_ = 0;
};

// What a CPU with these features can run, best first; never empty.
[[nodiscard]] Ranking<Sha256Implementation> supported_sha256(const CpuFeatures& cpu) noexcept;
[[nodiscard]] Ranking<Crc32cImplementation> supported_crc32c(const CpuFeatures& cpu) noexcept;

// What this CPU can run, whatever the environment says.
[[nodiscard]] inline Ranking<Sha256Implementation> supported_sha256() noexcept {
  return supported_sha256(detect_cpu_features());
}
[[nodiscard]] inline Ranking<Crc32cImplementation> supported_crc32c() noexcept {
  return supported_crc32c(detect_cpu_features());
}

}  // namespace mckpt::digest
