// Run with the driver of fake_cuda.cpp.
#include "device/pinned_ring.hpp"
#include "mckpt/device.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;

TEST(Cuda, CopiesThroughTheDriver) {
  const Bytes source = random_bytes(20 * kPinnedBlockBytes + 5, 1);
  Bytes dest(source.size());
  const bytes_view view(source);
  const auto address = reinterpret_cast<DeviceAddress>(dest.data());
  for (int again = 0; again < 2; ++again) {
    std::ranges::fill(dest, std::byte{0});
    copy_to_device({cuda_ring(0), 0, {&address, 1}}, {&view, 1});
    EXPECT_EQ(dest, source);
  }
}

TEST(Cuda, ADeviceHasOneRing) { EXPECT_EQ(&cuda_ring(0), &cuda_ring(0)); }

TEST(Cuda, NamesTheErrorAndTheDevice) {
  for (int again = 0; again < 2; ++again) {
    const Error error = error_of([] { static_cast<void>(cuda_ring(7)); });
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_STREQ(error.what(), "CUDA_ERROR_INVALID_DEVICE: misuse of the fake (cuDeviceGet, cuda:7)");
  }
}

TEST(Cuda, AFailureOfACallIsNoCorruption) {
  const Bytes source(10);
  const bytes_view view(source);
  const DeviceAddress address = 0;
  const DeviceStream unknown = 1;
  EXPECT_EQ(error_of([&] { copy_to_device({cuda_ring(0), unknown, {&address, 1}}, {&view, 1}); }).code(),
            ErrorCode::kDevice);
}

}  // namespace
}  // namespace mckpt
