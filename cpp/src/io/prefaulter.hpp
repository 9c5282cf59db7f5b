// Pages of memory that is about to be written.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mckpt {

// Finds out whether huge pages are worth having, by what they cost.
class HugePageTrial {
 public:
  // `small_page_price`: nanoseconds for a byte of fresh small pages.
  explicit HugePageTrial(double small_page_price) noexcept : small_page_price_(small_page_price) {}

  // Counts what huge pages of `bytes` took. Returns true once, when they have turned out too dear. Thread-safe.
  [[nodiscard]] bool is_lost_after(std::size_t bytes, std::chrono::nanoseconds time) noexcept;

  [[nodiscard]] bool is_lost() const noexcept { return is_lost_.load(std::memory_order_relaxed); }

 private:
  const double small_page_price_;
  std::atomic<bool> is_lost_{false};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> nanoseconds_{0};
};

// Makes the pages of destinations present a range at a time, which costs half as much as a fault at each page. Asks for
// huge pages, which may cost half of that, and goes on with small ones where they do not: with fragmented memory, or
// under a hypervisor that takes free memory back, one may take ten times as long as 512 small ones.
//
// Nothing here fails: what is not prepared faults when it is written.
class Prefaulter {
 public:
  // Preparing less is not worth a system call.
  static constexpr std::size_t kMinBytes = 64 * 1024;

  // Those of the destinations that are large may get huge pages.
  explicit Prefaulter(std::vector<std::span<std::byte>> destinations);

  // Makes the pages of `bytes` present, unless there are few or most are already. Thread-safe.
  void prepare(std::span<std::byte> bytes) noexcept;

 private:
  void use_small_pages() noexcept;

  std::vector<std::span<std::byte>> large_;
  std::optional<HugePageTrial> trial_;
};

}  // namespace mckpt
