#include "device/pinned_ring.hpp"

#include <cstring>
#include <optional>
#include <thread>

#include "fake_device.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::FakeDevice;

DeviceAddress address_of(Bytes& bytes) { return reinterpret_cast<DeviceAddress>(bytes.data()); }

// Restores the budget of staging memory.
class StagingBudget {
 public:
  explicit StagingBudget(std::size_t bytes) { set_staging_bytes(bytes); }
  ~StagingBudget() { set_staging_bytes(before_); }
  StagingBudget(const StagingBudget&) = delete;
  StagingBudget& operator=(const StagingBudget&) = delete;

 private:
  std::size_t before_ = get_staging_bytes();
};

// Sends bytes through one buffer.
void send(PinnedRing& ring, Bytes& dest, std::byte value) {
  PinnedRing::Buffer buffer = ring.take();
  std::memset(buffer.bytes().data(), std::to_integer<int>(value), dest.size());
  buffer.copy(address_of(dest), buffer.bytes().first(dest.size()));
  buffer.finish();
}

TEST(PinnedRing, HandsABufferOutWhenItsCopiesHaveEnded) {
  const StagingBudget budget(2 * kPinnedBlockBytes);
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  std::vector<Bytes> arrived(7, Bytes(100));
  for (std::size_t i = 0; i < arrived.size(); ++i) send(ring, arrived[i], static_cast<std::byte>(i + 1));
  EXPECT_EQ(ring.size(), 2U);
  EXPECT_EQ(device.in_flight(), 2U);
  ring.wait();
  for (std::size_t i = 0; i < arrived.size(); ++i) EXPECT_EQ(arrived[i], Bytes(100, static_cast<std::byte>(i + 1)));
}

TEST(PinnedRing, TakesNoMoreMemoryThanItNeeds) {
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  Bytes arrived(10);
  for (int i = 0; i < 5; ++i) {
    send(ring, arrived, std::byte{1});
    ring.wait();
  }
  EXPECT_EQ(ring.size(), 1U);
  EXPECT_EQ(device.pinned_bytes(), kPinnedBlockBytes + kStagingSlackBytes);
}

TEST(PinnedRing, StaysWithinTheBudgetAndOneBufferIsAlwaysAllowed) {
  const StagingBudget budget(1);
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  Bytes arrived(10);
  for (int i = 0; i < 5; ++i) send(ring, arrived, std::byte{1});
  ring.wait();
  EXPECT_EQ(ring.size(), 1U);
}

TEST(PinnedRing, WaitsForABufferThatAnotherThreadHolds) {
  const StagingBudget budget(1);
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  Bytes arrived(10);
  std::optional<std::jthread> other;
  {
    const PinnedRing::Buffer held = ring.take();
    other.emplace([&] {
      const DeviceScope theirs(device);
      send(ring, arrived, std::byte{7});
    });
  }
  other.reset();
  ring.wait();
  EXPECT_EQ(arrived, Bytes(10, std::byte{7}));
}

TEST(PinnedRing, ABufferThatIsNotFinishedWaitsForItsCopies) {
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  Bytes arrived(10);
  {
    PinnedRing::Buffer buffer = ring.take();
    std::memset(buffer.bytes().data(), 3, arrived.size());
    buffer.copy(address_of(arrived), buffer.bytes().first(arrived.size()));
  }
  EXPECT_EQ(device.in_flight(), 0U);
  EXPECT_EQ(arrived, Bytes(10, std::byte{3}));
}

TEST(PinnedRing, WorksWithMemoryThatTheSystemRefusesToLock) {
  FakeDevice device;
  device.refuse_to_pin();
  Bytes arrived(10);
  {
    PinnedRing ring(device);
    const DeviceScope scope(device);
    send(ring, arrived, std::byte{1});
    ring.wait();
  }
  EXPECT_EQ(arrived, Bytes(10, std::byte{1}));
  EXPECT_TRUE(device.faults().empty());
}

TEST(PinnedRing, LeavesNothingBehind) {
  FakeDevice device;
  Bytes arrived(10);
  {
    PinnedRing ring(device);
    const DeviceScope scope(device);
    send(ring, arrived, std::byte{1});  // and nobody waits
  }
  EXPECT_EQ(arrived, Bytes(10, std::byte{1}));
  EXPECT_EQ(device.things(), 0U);
  EXPECT_TRUE(device.faults().empty());
}

TEST(PinnedRing, ReturnsTheFirstFailureWhenAllWereWaitedFor) {
  const StagingBudget budget(3 * kPinnedBlockBytes);
  FakeDevice device;
  PinnedRing ring(device);
  const DeviceScope scope(device);
  std::vector<Bytes> arrived(3, Bytes(10));
  for (Bytes& bytes : arrived) send(ring, bytes, std::byte{1});
  device.fail_at(device.calls() + 1);
  EXPECT_EQ(error_of([&] { ring.wait(); }).code(), ErrorCode::kDevice);
  EXPECT_EQ(device.in_flight(), 1U);  // of the stream whose event could not be waited for
  ring.drain();
  EXPECT_EQ(device.in_flight(), 0U);
}

}  // namespace
}  // namespace mckpt
