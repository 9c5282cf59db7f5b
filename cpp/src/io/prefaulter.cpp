#include "prefaulter.hpp"

#include <time.h>

#include <numeric>
#include <utility>

#include "mckpt/arena.hpp"

namespace mckpt {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kLargeBytes = 4 * 1024 * 1024;
constexpr std::size_t kSampleBytes = 4 * 1024 * 1024;
constexpr std::uint64_t kJudgedBytes = 16 * 1024 * 1024;
constexpr std::size_t kWorthATrial = 4 * kJudgedBytes;
constexpr double kWorthwhile = 0.75;  // a huge page has left the cache before it is written, a small one has not

// Time that this thread has run, without what it waited for a core.
nanoseconds thread_time() noexcept {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

// Nanoseconds for a byte of fresh small pages, if that can be found out.
std::optional<double> sample_small_pages() {
  const Arena sample(kSampleBytes);
  advise_small_pages(sample.bytes());
  const nanoseconds start = thread_time();
  if (!populate_pages(sample.bytes())) return std::nullopt;
  return static_cast<double>((thread_time() - start).count()) / kSampleBytes;
}

std::size_t total_bytes(std::span<const std::span<std::byte>> ranges) {
  const auto add = [](std::size_t total, std::span<std::byte> range) { return total + range.size(); };
  return std::accumulate(ranges.begin(), ranges.end(), std::size_t{0}, add);
}

}  // namespace

bool HugePageTrial::is_lost_after(std::size_t bytes, nanoseconds time) noexcept {
  const std::uint64_t all_time = nanoseconds_ += static_cast<std::uint64_t>(time.count());
  const std::uint64_t all_bytes = bytes_ += bytes;
  if (all_bytes < kJudgedBytes) return false;
  if (static_cast<double>(all_time) > kWorthwhile * small_page_price_ * static_cast<double>(all_bytes))
    return !is_lost_.exchange(true);
  nanoseconds_ = bytes_ = 0;  // what was good may turn bad
  return false;
}

Prefaulter::Prefaulter(std::vector<std::span<std::byte>> destinations) : large_(std::move(destinations)) {
  std::erase_if(large_, [](std::span<std::byte> bytes) { return bytes.size() < kLargeBytes; });
  for (const std::span<std::byte> bytes : large_) advise_huge_pages(bytes);
  if (total_bytes(large_) < kWorthATrial) return;
  if (const auto price = sample_small_pages()) trial_.emplace(*price);
}

void Prefaulter::prepare(std::span<std::byte> bytes) noexcept {
  if (bytes.size() < kMinBytes || is_page_present(&bytes[bytes.size() / 2])) return;
  if (!trial_ || trial_->is_lost()) {
    populate_pages(bytes);
    return;
  }
  const nanoseconds start = thread_time();
  populate_pages(bytes);
  if (trial_->is_lost_after(bytes.size(), thread_time() - start)) use_small_pages();
}

void Prefaulter::use_small_pages() noexcept {
  for (const std::span<std::byte> bytes : large_) advise_small_pages(bytes);
}

}  // namespace mckpt
