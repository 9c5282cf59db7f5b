// How stages are timed: one look at the clock where a worker goes from one to the next, every megabyte or so.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mckpt/stage_times.hpp"

namespace mckpt {

// The sums of one call, shared by its workers.
class StageTotals {
 public:
  void add(const StageTimes& times) noexcept {
    for (std::size_t i = 0; i < kStageCount; ++i)
      nanoseconds_[i].fetch_add(times.by_stage[i].count(), std::memory_order_relaxed);
  }

  // What was added so far.
  [[nodiscard]] StageTimes times() const noexcept {
    StageTimes times;
    for (std::size_t i = 0; i < kStageCount; ++i)
      times.by_stage[i] = std::chrono::nanoseconds(nanoseconds_[i].load(std::memory_order_relaxed));
    return times;
  }

 private:
  std::array<std::atomic<std::int64_t>, kStageCount> nanoseconds_{};
};

// One worker's time since it was made. Its end adds what was charged to the totals.
class StageLap {
 public:
  explicit StageLap(StageTotals& totals) noexcept : totals_(totals) {}
  ~StageLap() { totals_.add(times_); }
  StageLap(const StageLap&) = delete;
  StageLap& operator=(const StageLap&) = delete;

  // The time since the last charge went into this stage.
  void charge(Stage stage) noexcept {
    const auto now = std::chrono::steady_clock::now();
    times_.by_stage[static_cast<std::size_t>(stage)] += now - mark_;
    mark_ = now;
  }

 private:
  StageTotals& totals_;
  StageTimes times_;
  std::chrono::steady_clock::time_point mark_ = std::chrono::steady_clock::now();
};

}  // namespace mckpt
