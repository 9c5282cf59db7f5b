// A CUDA device.
#pragma once

#include "cuda_driver.hpp"
#include "device.hpp"

namespace mckpt {

// Works in the device's primary context, which is also that of the CUDA runtime and so of the frameworks. Retains it
// for ever, as they do.
class CudaDevice final : public Device {
 public:
  // `ordinal` is the driver's, which counts what CUDA_VISIBLE_DEVICES leaves, as the runtime does.
  explicit CudaDevice(int ordinal);

  void enter() override;
  void leave() noexcept override;
  [[nodiscard]] bool pin(std::span<std::byte> memory) override;
  void unpin(std::span<std::byte> memory) noexcept override;
  [[nodiscard]] DeviceStream make_stream() override;
  void destroy_stream(DeviceStream stream) noexcept override;
  void drain(DeviceStream stream) noexcept override;
  [[nodiscard]] DeviceEvent make_event() override;
  void destroy_event(DeviceEvent event) noexcept override;
  void record(DeviceEvent event, DeviceStream stream) override;
  void follow(DeviceStream stream, DeviceEvent event) override;
  [[nodiscard]] bool has_happened(DeviceEvent event) override;
  void wait(DeviceEvent event) override;
  void copy(DeviceAddress dest, bytes_view source, DeviceStream stream) override;

 private:
  void require(cuda::Result result, const char* call) const { driver_.require(result, call, ordinal_); }

  const CudaDriver& driver_ = CudaDriver::instance();
  int ordinal_;
  cuda::Context context_ = nullptr;
};

}  // namespace mckpt
