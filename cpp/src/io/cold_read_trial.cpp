#include "cold_read_trial.hpp"

namespace mckpt {
namespace {

constexpr std::uint64_t kTrialBlocks = 2 * ColdReadTrial::kBlocksEach;
constexpr double kClearly = 1.5;  // the page cache also costs a copy and pushes out what others need

}  // namespace

bool ColdReadTrial::next_is_direct() noexcept {
  if (is_over_) return !prefers_buffered_;
  const std::uint64_t block = begun_++;
  return block >= kTrialBlocks || block % 2 == 0;
}

void ColdReadTrial::record(bool is_direct, std::size_t bytes, std::chrono::nanoseconds time) noexcept {
  if (is_over_) return;
  Way& way = is_direct ? direct_ : buffered_;
  if (way.blocks++ >= kBlocksEach) return;
  way.bytes += bytes;
  way.nanoseconds += static_cast<std::uint64_t>(time.count());
  if (++ended_ == kTrialBlocks) decide();
}

void ColdReadTrial::decide() noexcept {
  const auto direct = static_cast<double>(direct_.nanoseconds) * static_cast<double>(buffered_.bytes);
  const auto buffered = static_cast<double>(buffered_.nanoseconds) * static_cast<double>(direct_.bytes);
  prefers_buffered_ = direct > kClearly * buffered;
  is_over_ = true;
}

}  // namespace mckpt
