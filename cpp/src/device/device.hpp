// What the core needs of an accelerator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "mckpt/device.hpp"

namespace mckpt {

enum class DeviceEvent : std::uintptr_t {};

// One device and its driver. Handles are the driver's own. Everything may be called from any number of threads at once,
// in a DeviceScope of the calling thread; what can fail throws kDevice.
class Device {
 public:
  Device() = default;
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // For DeviceScope: makes the device the calling thread's, and makes it what it was before.
  virtual void enter() = 0;
  virtual void leave() noexcept = 0;

  // Page-locks memory. Returns false where the system refuses: copies from there are correct, but slower.
  [[nodiscard]] virtual bool pin(std::span<std::byte> memory) = 0;
  virtual void unpin(std::span<std::byte> memory) noexcept = 0;

  [[nodiscard]] virtual DeviceStream make_stream() = 0;
  virtual void destroy_stream(DeviceStream stream) noexcept = 0;
  // Waits for all that was enqueued, as far as the device still can.
  virtual void drain(DeviceStream stream) noexcept = 0;

  // An event has happened until it is recorded.
  [[nodiscard]] virtual DeviceEvent make_event() = 0;
  virtual void destroy_event(DeviceEvent event) noexcept = 0;
  // The event happens when all that was enqueued on the stream so far has ended.
  virtual void record(DeviceEvent event, DeviceStream stream) = 0;
  // What is enqueued on the stream from now on begins after the event as it was last recorded.
  virtual void follow(DeviceStream stream, DeviceEvent event) = 0;
  [[nodiscard]] virtual bool has_happened(DeviceEvent event) = 0;
  virtual void wait(DeviceEvent event) = 0;

  // Enqueues a copy. `source` must stay as it is until the copy has ended.
  virtual void copy(DeviceAddress dest, bytes_view source, DeviceStream stream) = 0;
};

// The device is the calling thread's while this lives.
class DeviceScope {
 public:
  explicit DeviceScope(Device& device) : device_(device) { device.enter(); }
  ~DeviceScope() { device_.leave(); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device& device_;
};

// An event that is destroyed with its owner, who is in a DeviceScope then.
class OwnedEvent {
 public:
  explicit OwnedEvent(Device& device) : device_(device), event_(device.make_event()) {}
  ~OwnedEvent() { device_.destroy_event(event_); }
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;

  [[nodiscard]] DeviceEvent get() const noexcept { return event_; }

 private:
  Device& device_;
  DeviceEvent event_;
};

// A stream that is destroyed with its owner, who is in a DeviceScope then.
class OwnedStream {
 public:
  explicit OwnedStream(Device& device) : device_(device), stream_(device.make_stream()) {}
  ~OwnedStream() { device_.destroy_stream(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  [[nodiscard]] DeviceStream get() const noexcept { return stream_; }

 private:
  Device& device_;
  DeviceStream stream_;
};

}  // namespace mckpt
