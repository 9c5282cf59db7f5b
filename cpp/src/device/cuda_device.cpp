#include "cuda_device.hpp"

#include <pthread.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "pinned_ring.hpp"

namespace mckpt {
namespace {

// NOLINTBEGIN(performance-no-int-to-ptr): handles are passed around as numbers
cuda::Stream as_stream(DeviceStream stream) { return reinterpret_cast<cuda::Stream>(stream); }
cuda::Event as_event(DeviceEvent event) { return reinterpret_cast<cuda::Event>(event); }
// NOLINTEND(performance-no-int-to-ptr)

// The rings of this process.
class CudaRings {
 public:
  PinnedRing& ring(int ordinal) {
    const std::scoped_lock lock(mutex_);
    std::unique_ptr<Ring>& found = rings_[ordinal];
    if (!found) found = std::make_unique<Ring>(ordinal);
    return found->ring;
  }

 private:
  struct Ring {
    explicit Ring(int ordinal) : device(ordinal), ring(device) {}
    CudaDevice device;
    PinnedRing ring;
  };

  std::mutex mutex_;
  std::map<int, std::unique_ptr<Ring>> rings_;
};

// Never destroyed: at the end of the process the driver may be gone before static objects are.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): one set for the process
std::atomic<CudaRings*> current_rings{nullptr};

// The child of a fork has none of the buffers, and perhaps a locked mutex: it starts over.
void forget_rings() { current_rings.store(nullptr); }
[[maybe_unused]] const int kForkHandler = pthread_atfork(nullptr, nullptr, forget_rings);

}  // namespace

CudaDevice::CudaDevice(int ordinal) : ordinal_(ordinal) {
  cuda::Device device = 0;
  require(driver_.cuDeviceGet(&device, ordinal), "cuDeviceGet");
  require(driver_.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
}

void CudaDevice::enter() { require(driver_.cuCtxPushCurrent(context_), "cuCtxPushCurrent"); }

void CudaDevice::leave() noexcept {
  cuda::Context left = nullptr;
  driver_.cuCtxPopCurrent(&left);
}

bool CudaDevice::pin(std::span<std::byte> memory) {
  return driver_.cuMemHostRegister(memory.data(), memory.size(), cuda::kMemHostRegisterPortable) == cuda::kSuccess;
}

void CudaDevice::unpin(std::span<std::byte> memory) noexcept { driver_.cuMemHostUnregister(memory.data()); }

DeviceStream CudaDevice::make_stream() {
  cuda::Stream stream = nullptr;
  require(driver_.cuStreamCreate(&stream, cuda::kStreamNonBlocking), "cuStreamCreate");
  return reinterpret_cast<DeviceStream>(stream);
}

void CudaDevice::destroy_stream(DeviceStream stream) noexcept { driver_.cuStreamDestroy(as_stream(stream)); }

void CudaDevice::drain(DeviceStream stream) noexcept { driver_.cuStreamSynchronize(as_stream(stream)); }

DeviceEvent CudaDevice::make_event() {
  cuda::Event event = nullptr;
  require(driver_.cuEventCreate(&event, cuda::kEventBlockingSync | cuda::kEventDisableTiming), "cuEventCreate");
  return static_cast<DeviceEvent>(reinterpret_cast<std::uintptr_t>(event));
}

void CudaDevice::destroy_event(DeviceEvent event) noexcept { driver_.cuEventDestroy(as_event(event)); }

void CudaDevice::record(DeviceEvent event, DeviceStream stream) {
  require(driver_.cuEventRecord(as_event(event), as_stream(stream)), "cuEventRecord");
}

void CudaDevice::follow(DeviceStream stream, DeviceEvent event) {
  require(driver_.cuStreamWaitEvent(as_stream(stream), as_event(event), 0), "cuStreamWaitEvent");
}

bool CudaDevice::has_happened(DeviceEvent event) {
  const cuda::Result result = driver_.cuEventQuery(as_event(event));
  if (result == cuda::kErrorNotReady) return false;
  require(result, "cuEventQuery");
  return true;
}

void CudaDevice::wait(DeviceEvent event) { require(driver_.cuEventSynchronize(as_event(event)), "cuEventSynchronize"); }

void CudaDevice::copy(DeviceAddress dest, bytes_view source, DeviceStream stream) {
  require(driver_.cuMemcpyHtoDAsync(dest, source.data(), source.size(), as_stream(stream)), "cuMemcpyHtoDAsync");
}

PinnedRing& cuda_ring(int ordinal) {
  CudaRings* rings = current_rings.load();
  if (rings == nullptr) {
    auto fresh = std::make_unique<CudaRings>();
    rings = current_rings.compare_exchange_strong(rings, fresh.get()) ? fresh.release() : rings;
  }
  return rings->ring(ordinal);
}

}  // namespace mckpt
