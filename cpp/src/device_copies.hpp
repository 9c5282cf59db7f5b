// The copies to a device that one call makes.
#pragma once

#include <span>

#include "block_plan.hpp"
#include "device/pinned_ring.hpp"

namespace mckpt {

// They begin after what the caller had enqueued on its own stream: its memory may have been in use there. None is in
// flight any more when this has ended. Made and destroyed by the thread that waits for the call, and shared by its
// workers; refers to its argument.
class DeviceCopies {
 public:
  explicit DeviceCopies(const DeviceTarget& target);
  ~DeviceCopies();
  DeviceCopies(const DeviceCopies&) = delete;
  DeviceCopies& operator=(const DeviceCopies&) = delete;

  // Enqueues the copies of parts of spans to the spans' addresses, and finishes the buffer, which has the parts from
  // `source` on as they lie in the file.
  void enqueue(PinnedRing::Buffer& buffer, std::span<const FileSpan> spans, std::span<const SpanPart> parts,
               const std::byte* source) const;

  // Returns when all copies have ended; kDevice if the device failed. Precondition: no buffer is held.
  void finish();

 private:
  const DeviceTarget& target_;
  DeviceScope scope_;
  OwnedEvent begin_;
  bool is_finished_ = false;
};

}  // namespace mckpt
