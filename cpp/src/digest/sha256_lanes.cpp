#include "sha256_lanes.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace mckpt::digest {

static_assert(std::endian::native == std::endian::little, "digests are written for little-endian hosts");

namespace {

constexpr std::size_t kLengthBytes = 8;

// A message in progress. First the whole blocks of its data, then those of `tail`: the rest of the data and the
// padding.
struct Job {
  std::byte* digest;
  std::size_t blocks;       // left where the lane reads now
  std::size_t tail_blocks;  // left in `tail` after that
  std::array<std::uint32_t, kStateWords> parked_state;
  const std::byte* parked_data;
  std::array<std::byte, 2 * kBlockBytes> tail;
};

// Writes the rest of a message, the 0x80 byte and the length in bits; returns the number of blocks.
std::size_t write_tail(std::byte* tail, const std::byte* rest, std::size_t size, std::uint64_t message_bytes) noexcept {
  const std::size_t blocks = size + 1 + kLengthBytes <= kBlockBytes ? 1 : 2;
  const std::size_t length_at = blocks * kBlockBytes - kLengthBytes;
  if (size > 0) std::memcpy(tail, rest, size);
  tail[size] = std::byte{0x80};
  std::memset(tail + size + 1, 0, length_at - size - 1);
  const std::uint64_t bits = __builtin_bswap64(message_bytes * 8);
  std::memcpy(tail + length_at, &bits, kLengthBytes);
  return blocks;
}

// A stack of job indices.
class IndexStack {
 public:
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  void push(std::size_t index) noexcept { indices_[size_++] = index; }
  std::size_t pop() noexcept { return indices_[--size_]; }

 private:
  std::array<std::size_t, kMaxLanes> indices_;
  std::size_t size_ = 0;
};

// Keeps the lanes of one kernel busy from a queue of messages, and hands what is left to the next narrower one.
// There are never more jobs than lanes of the widest kernel.
class LaneScheduler {
 public:
  LaneScheduler(const Midstate& start, std::span<const Message> messages) noexcept : start_(start), queue_(messages) {
    for (std::size_t i = 0; i < kMaxLanes; ++i) free_jobs_.push(i);
  }

  void run(const Sha256Kernel& kernel) noexcept {
    lanes_ = kernel.lanes;
    busy_ = 0;
    for (std::size_t lane = 0; lane < lanes_; ++lane) fill(lane);
    while (busy_ >= kernel.min_busy) step(kernel);
    for (std::size_t lane = 0; lane < lanes_; ++lane) park(lane);
  }

 private:
  static constexpr std::size_t kIdle = kMaxLanes;

  [[nodiscard]] bool is_busy(std::size_t lane) const noexcept { return job_of_lane_[lane] != kIdle; }
  [[nodiscard]] Job& job_in(std::size_t lane) noexcept { return jobs_[job_of_lane_[lane]]; }

  // Gives an idle lane a parked job or else a new one, or leaves it idle.
  void fill(std::size_t lane) noexcept {
    job_of_lane_[lane] = kIdle;
    if (!parked_jobs_.empty()) {
      start_lane(lane, parked_jobs_.pop());
    } else if (!queue_.empty()) {
      const std::size_t index = free_jobs_.pop();
      begin(jobs_[index], queue_.front());
      queue_ = queue_.subspan(1);
      start_lane(lane, index);
    }
  }

  void begin(Job& job, const Message& message) noexcept {
    const std::size_t rest = message.size % kBlockBytes;
    job.digest = message.digest;
    job.blocks = message.size / kBlockBytes;
    job.parked_data = message.data;
    job.parked_state = start_.words;
    job.tail_blocks =
        write_tail(job.tail.data(), message.data + message.size - rest, rest, start_.bytes + message.size);
    if (job.blocks == 0) enter_tail(job);
  }

  static void enter_tail(Job& job) noexcept {
    job.parked_data = job.tail.data();
    job.blocks = job.tail_blocks;
    job.tail_blocks = 0;
  }

  void start_lane(std::size_t lane, std::size_t index) noexcept {
    job_of_lane_[lane] = index;
    data_[lane] = jobs_[index].parked_data;
    for (std::size_t w = 0; w < kStateWords; ++w) states_[w * lanes_ + lane] = jobs_[index].parked_state[w];
    ++busy_;
  }

  void park(std::size_t lane) noexcept {
    if (!is_busy(lane)) return;
    Job& job = job_in(lane);
    job.parked_data = data_[lane];
    for (std::size_t w = 0; w < kStateWords; ++w) job.parked_state[w] = states_[w * lanes_ + lane];
    parked_jobs_.push(job_of_lane_[lane]);
  }

  // Runs all lanes for as many blocks as the shortest has left.
  void step(const Sha256Kernel& kernel) noexcept {
    std::size_t blocks = SIZE_MAX;
    const std::byte* readable = nullptr;
    for (std::size_t lane = 0; lane < lanes_; ++lane) {
      if (!is_busy(lane) || job_in(lane).blocks >= blocks) continue;
      blocks = job_in(lane).blocks;
      readable = data_[lane];
    }
    for (std::size_t lane = 0; lane < lanes_; ++lane) {
      if (!is_busy(lane)) data_[lane] = readable;
    }
    kernel.compress(states_.data(), data_.data(), blocks);
    for (std::size_t lane = 0; lane < lanes_; ++lane) {
      if (is_busy(lane)) advance(lane, blocks);
    }
  }

  void advance(std::size_t lane, std::size_t blocks) noexcept {
    Job& job = job_in(lane);
    job.blocks -= blocks;
    data_[lane] += blocks * kBlockBytes;
    if (job.blocks > 0) return;
    if (job.tail_blocks > 0) {
      enter_tail(job);
      data_[lane] = job.parked_data;
      return;
    }
    finish(lane);
    fill(lane);
  }

  void finish(std::size_t lane) noexcept {
    std::array<std::uint32_t, kStateWords> digest;
    for (std::size_t w = 0; w < kStateWords; ++w) digest[w] = __builtin_bswap32(states_[w * lanes_ + lane]);
    std::memcpy(job_in(lane).digest, digest.data(), sizeof digest);
    free_jobs_.push(job_of_lane_[lane]);
    --busy_;
  }

  const Midstate& start_;
  std::span<const Message> queue_;
  std::size_t lanes_ = 0;
  std::size_t busy_ = 0;
  IndexStack free_jobs_;
  IndexStack parked_jobs_;
  std::array<std::size_t, kMaxLanes> job_of_lane_;
  std::array<const std::byte*, kMaxLanes> data_;
  alignas(64) std::array<std::uint32_t, kStateWords * kMaxLanes> states_;
  std::array<Job, kMaxLanes> jobs_;
};

}  // namespace

Midstate domain_midstate(std::string_view name) noexcept {
  assert(name.size() <= kBlockBytes);
  std::array<std::byte, kBlockBytes> block{};
  std::memcpy(block.data(), name.data(), name.size());
  Midstate result = kInitialState;
  const std::byte* data = block.data();
  sha256_compress_portable(result.words.data(), &data, 1);
  result.bytes = kBlockBytes;
  return result;
}

void hash_messages(std::span<const Sha256Kernel> kernels, const Midstate& start,
                   std::span<const Message> messages) noexcept {
  LaneScheduler scheduler(start, messages);
  for (const Sha256Kernel& kernel : kernels) scheduler.run(kernel);
}

}  // namespace mckpt::digest
