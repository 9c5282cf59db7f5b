#include "pinned_ring.hpp"

#include <algorithm>
#include <exception>

namespace mckpt {

namespace {

// Memory that is page-locked, where the system does not refuse.
class PinnedMemory {
 public:
  PinnedMemory(Device& device, std::size_t size)
      : device_(device), arena_(make_arena(size)), is_pinned_(device.pin(arena_.bytes())) {}
  ~PinnedMemory() {
    if (is_pinned_) device_.unpin(arena_.bytes());
  }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return arena_.bytes(); }

 private:
  static Arena make_arena(std::size_t size) {
    Arena arena(size);
    arena.exclude_from_fork();  // the device reads these very pages, which a fork would leave to the child
    return arena;
  }

  Device& device_;
  Arena arena_;
  bool is_pinned_;
};

}  // namespace

// A buffer and what goes with it; lives and dies in a DeviceScope.
struct PinnedRing::Lane {
  explicit Lane(Device& device)
      : memory(device, kPinnedBlockBytes + kStagingSlackBytes), stream(device), copied(device) {}

  PinnedMemory memory;
  OwnedStream stream;
  OwnedEvent copied;  // when the copies of the last holder have ended
};

PinnedRing::PinnedRing(Device& device) : device_(device) {}

PinnedRing::~PinnedRing() {
  const DeviceScope scope(device_);
  drain();
  lanes_.clear();
}

PinnedRing::Buffer::~Buffer() {
  if (!is_finished_) ring_.device_.drain(lane_.stream.get());
  ring_.give_back(lane_);
}

std::span<std::byte> PinnedRing::Buffer::bytes() const noexcept { return lane_.memory.bytes(); }

void PinnedRing::Buffer::follow(DeviceEvent event) { ring_.device_.follow(lane_.stream.get(), event); }

void PinnedRing::Buffer::copy(DeviceAddress dest, bytes_view source) {
  ring_.device_.copy(dest, source, lane_.stream.get());
}

void PinnedRing::Buffer::finish() {
  ring_.device_.record(lane_.copied.get(), lane_.stream.get());
  is_finished_ = true;
}

PinnedRing::Buffer PinnedRing::take() {
  Lane& lane = next();
  try {
    device_.wait(lane.copied.get());
  } catch (...) {
    give_back(lane);
    throw;
  }
  return {*this, lane};
}

// The oldest of the idle buffers; a new one as long as even the oldest is being copied and the budget allows it.
PinnedRing::Lane& PinnedRing::next() {
  const std::size_t allowed = std::max<std::size_t>(get_staging_bytes() / kPinnedBlockBytes, 1);
  std::unique_lock lock(mutex_);
  const bool is_ready = !idle_.empty() && device_.has_happened(idle_.front()->copied.get());
  if (!is_ready && lanes_.size() < allowed) {
    idle_.reserve(lanes_.size() + 1);  // so that giving it back cannot fail
    lanes_.push_back(std::make_unique<Lane>(device_));
    return *lanes_.back();
  }
  returned_.wait(lock, [this] { return !idle_.empty(); });
  Lane& lane = *idle_.front();
  idle_.erase(idle_.begin());
  return lane;
}

void PinnedRing::give_back(Lane& lane) noexcept {
  const std::scoped_lock lock(mutex_);
  idle_.push_back(&lane);
  returned_.notify_one();
}

void PinnedRing::wait() {
  std::exception_ptr failure;
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i) try {
      device_.wait(lane_at(i).copied.get());
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  if (failure) std::rethrow_exception(failure);
}

void PinnedRing::drain() noexcept {
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i) device_.drain(lane_at(i).stream.get());
}

const PinnedRing::Lane& PinnedRing::lane_at(std::size_t i) const noexcept {
  const std::scoped_lock lock(mutex_);
  return *lanes_[i];
}

std::size_t PinnedRing::size() const noexcept {
  const std::scoped_lock lock(mutex_);
  return lanes_.size();
}

}  // namespace mckpt
