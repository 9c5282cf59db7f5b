// The choice between direct and buffered reads of what the page cache lacks.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mckpt {

// For file systems over a network or in user space: some read ahead, and serve single direct requests at a tenth of
// that speed; others are faster without a page cache. So the first blocks of a long read go both ways in turn, and the
// rest the way that took less time. Thread-safe.
class ColdReadTrial {
 public:
  static constexpr std::uint64_t kBlocksEach = 8;
  // A shorter read is direct.
  static constexpr std::uint64_t kMinBytes = 512 * 1024 * 1024;

  // `bytes`: size of the read; 0 for no trial.
  explicit ColdReadTrial(std::uint64_t bytes) noexcept : is_over_(bytes < kMinBytes) {}

  // Whether the next block that the page cache lacks shall be read directly.
  [[nodiscard]] bool next_is_direct() noexcept;

  // Tells how long a block took that went the way of next_is_direct().
  void record(bool is_direct, std::size_t bytes, std::chrono::nanoseconds time) noexcept;

  // Whether the trial has chosen buffered reads.
  [[nodiscard]] bool prefers_buffered() const noexcept { return is_over_ && prefers_buffered_; }

 private:
  struct Way {
    std::atomic<std::uint64_t> blocks{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> nanoseconds{0};
  };

  void decide() noexcept;

  std::atomic<bool> is_over_;
  std::atomic<bool> prefers_buffered_{false};
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> ended_{0};
  Way direct_;
  Way buffered_;
};

}  // namespace mckpt
