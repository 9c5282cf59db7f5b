// Page-locked buffers that bytes pass through on their way to a device.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "device.hpp"
#include "mckpt/staging.hpp"

namespace mckpt {

// Half of a block: twice as many buffers for the budget, so that as many workers fill some while others are copied.
inline constexpr std::size_t kPinnedBlockBytes = kBlockBytes / 2;

// Buffers of kPinnedBlockBytes + kStagingSlackBytes, page-aligned, each with a stream of its own. They go round: one
// that is given back while its bytes are still being copied is handed out again when they are not.
//
// Shared by all calls of the process; a thread holds at most one buffer, in a DeviceScope. Whoever holds one is at work
// and waits for nothing but the device, so that nobody waits for ever.
class PinnedRing {
  struct Lane;

 public:
  explicit PinnedRing(Device& device);
  // Precondition: no buffer is held.
  ~PinnedRing();
  PinnedRing(const PinnedRing&) = delete;
  PinnedRing& operator=(const PinnedRing&) = delete;

  // A buffer that is held. Unless `finish` has returned, its end waits for the copies that were enqueued.
  class Buffer {
   public:
    Buffer(PinnedRing& ring, Lane& lane) noexcept : ring_(ring), lane_(lane) {}
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    [[nodiscard]] std::span<std::byte> bytes() const noexcept;

    // Copies enqueued here begin after the event.
    void follow(DeviceEvent event);
    // Enqueues a copy of some of bytes().
    void copy(DeviceAddress dest, bytes_view source);
    // Everything is enqueued.
    void finish();

   private:
    PinnedRing& ring_;
    Lane& lane_;
    bool is_finished_ = false;
  };

  // Waits for a buffer. kDevice where the device fails, std::bad_alloc.
  [[nodiscard]] Buffer take();

  // Returns when all copies of finished buffers have ended, also those of other calls. After a failure it waits for the
  // others first.
  void wait();

  // Returns when all copies that were enqueued so far have ended, well or not.
  void drain() noexcept;

  [[nodiscard]] Device& device() const noexcept { return device_; }
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  Lane& next();
  void give_back(Lane& lane) noexcept;
  [[nodiscard]] const Lane& lane_at(std::size_t i) const noexcept;

  Device& device_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // only grows
  std::vector<Lane*> idle_;                   // in the order in which they were given back
};

}  // namespace mckpt
