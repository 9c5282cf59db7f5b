#include <algorithm>
#include <stdexcept>

#include "device/pinned_ring.hpp"
#include "fake_device.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::FakeDevice;
using testing::random_bytes;

// Sources of all sizes and places for them on a device.
struct Copies {
  Copies() {
    for (const std::size_t size : {0UL, 1UL, 5UL * kPinnedBlockBytes + 7, 4096UL, kPinnedBlockBytes + 0UL})
      sources.push_back(random_bytes(size, size + 1));
    for (std::size_t i = 0; i < 500; ++i) sources.push_back(random_bytes(i, i));
    for (const Bytes& source : sources) {
      views.emplace_back(source);
      dests.emplace_back(source.size());
      addresses.push_back(reinterpret_cast<DeviceAddress>(dests.back().data()));
    }
  }

  std::vector<Bytes> sources;
  std::vector<bytes_view> views;
  std::vector<Bytes> dests;
  std::vector<DeviceAddress> addresses;
};

TEST(DeviceCopier, CopiesEverySource) {
  FakeDevice device;
  PinnedRing ring(device);
  const Copies copies;
  copy_to_device({ring, 0, copies.addresses}, copies.views);
  EXPECT_EQ(device.in_flight(), 0U);
  EXPECT_EQ(copies.dests, copies.sources);
  EXPECT_LE(device.pinned_bytes(), get_staging_bytes() / kPinnedBlockBytes * (kPinnedBlockBytes + kStagingSlackBytes));
}

TEST(DeviceCopier, RefusesAnotherNumberOfAddresses) {
  FakeDevice device;
  PinnedRing ring(device);
  const Copies copies;
  const auto fewer = std::span(copies.addresses).first(3);
  EXPECT_EQ(error_of([&] { copy_to_device({ring, 0, fewer}, copies.views); }).code(), ErrorCode::kArgument);
}

TEST(DeviceCopier, LeavesNothingInFlightWhicheverCallFails) {
  std::size_t calls = 0;
  for (std::size_t failing = 1; failing <= std::max<std::size_t>(calls, 1); failing += failing < 40 ? 1 : 97) {
    FakeDevice device;
    {
      PinnedRing ring(device);
      const Copies copies;
      if (calls == 0) {
        copy_to_device({ring, 0, copies.addresses}, copies.views, {.threads = 1});
        calls = device.calls();
        continue;
      }
      device.fail_at(failing);
      EXPECT_EQ(error_of([&] { copy_to_device({ring, 0, copies.addresses}, copies.views, {.threads = 1}); }).code(),
                ErrorCode::kDevice);
      EXPECT_EQ(device.in_flight(), 0U);
    }
    EXPECT_EQ(device.things(), 0U);
    EXPECT_TRUE(device.faults().empty());
  }
}

TEST(DeviceCopier, StopsWhenInterruptedAndLeavesNothingInFlight) {
  FakeDevice device;
  PinnedRing ring(device);
  const Bytes source = random_bytes(64 * kPinnedBlockBytes, 1);
  Bytes dest(source.size());
  const std::vector<DeviceAddress> addresses(16, reinterpret_cast<DeviceAddress>(dest.data()));
  const std::vector<bytes_view> sources(16, source);
  EXPECT_THROW(copy_to_device({ring, 0, addresses}, sources,
                              {.threads = 1, .interrupt = [] { throw std::logic_error("stop"); }}),
               std::logic_error);
  EXPECT_EQ(device.in_flight(), 0U);
}

}  // namespace
}  // namespace mckpt
