#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "device/pinned_ring.hpp"
#include "fake_device.hpp"
#include "mckpt/reader.hpp"
#include "mckpt/writer.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::FakeDevice;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::uint64_t kDataOffset = 4096;

// A file of tensors, and memory of a device to read them into.
class DeviceReaderTest : public ::testing::Test {
 protected:
  DeviceReaderTest() {
    for (const std::size_t size : {9UL * kChunkBytes + 4096, 0UL, 4'096UL, 5UL * kChunkBytes + 3, 77UL})
      tensors_.push_back(random_bytes(size, size));
    for (std::size_t i = 0; i < 1000; ++i) tensors_.push_back(random_bytes(i % 300, i));
    std::vector<Segment> segments;
    for (const Bytes& tensor : tensors_) segments.push_back({tensor, "tensor"});
    table_ = write_segments(file_.ref(), segments, kDataOffset).table;
    sync_file(file_.ref());
    for (const Bytes& tensor : tensors_) {
      arrived_.emplace_back(tensor.size());
      addresses_.push_back(reinterpret_cast<DeviceAddress>(arrived_.back().data()));
    }
    std::uint64_t offset = kDataOffset;
    std::uint64_t chunk = 0;
    for (const Bytes& tensor : tensors_) {
      spans_.push_back({offset, tensor.size(), nullptr, chunk, "tensor"});
      offset += tensor.size();
      chunk += chunk_count(tensor.size());
    }
  }

  ReadResult read(PinnedRing& ring, const ReadOptions& options, DeviceStream stream = 0) {
    return read_spans_to_device(file_.ref(), spans_, {ring, stream, addresses_}, options);
  }

  [[nodiscard]] ReadOptions options(IoMode io = IoMode::kAuto, std::size_t threads = 0) const {
    return {.table = table_, .io = io, .work = {.threads = threads}};
  }

  TempDirectory directory_{"/tmp"};
  TempFile file_{directory_ / "file"};
  std::vector<Bytes> tensors_;
  std::vector<Bytes> arrived_;
  std::vector<DeviceAddress> addresses_;
  std::vector<FileSpan> spans_;
  Bytes table_;
  FakeDevice device_;
};

TEST_F(DeviceReaderTest, ReadsEveryTensorInEveryWay) {
  PinnedRing ring(device_);
  for (const IoMode io : {IoMode::kAuto, IoMode::kBuffered, IoMode::kDirect})
    for (const Check check : {Check::kSha256, Check::kCrc32c, Check::kNone}) {
      if (io == IoMode::kDirect && !DirectFile::open(file_.ref(), DirectFile::Access::kRead)) continue;
      drop_cache(file_.ref());
      for (Bytes& bytes : arrived_) std::ranges::fill(bytes, std::byte{0});
      const ReadResult result = read(ring, {.table = table_, .check = check, .io = io});
      EXPECT_EQ(device_.in_flight(), 0U);
      EXPECT_EQ(arrived_, tensors_);
      EXPECT_EQ(result.direct_bytes + result.buffered_bytes, file_size(file_.ref()) - kDataOffset);
      EXPECT_EQ(io == IoMode::kDirect ? result.buffered_bytes : 0, 0U);
    }
  EXPECT_TRUE(device_.faults().empty());
}

TEST_F(DeviceReaderTest, ReadsATensorWithOneCopyForEachBlock) {
  PinnedRing ring(device_);
  spans_.resize(1);
  addresses_.resize(1);
  read(ring, options());
  EXPECT_EQ(device_.copies(), tensors_[0].size() / kPinnedBlockBytes + 1);
}

TEST_F(DeviceReaderTest, ReadsSomeTensorsInAnyOrder) {
  PinnedRing ring(device_);
  std::ranges::reverse(spans_);
  std::ranges::reverse(addresses_);
  const std::size_t half = spans_.size() / 2 * 2;
  for (std::size_t i = 0; i < half / 2; ++i) {  // every other one
    spans_[i] = spans_[2 * i];
    addresses_[i] = addresses_[2 * i];
  }
  spans_.resize(half / 2);
  addresses_.resize(half / 2);
  read(ring, options());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const bool is_asked_for =
        std::ranges::find(addresses_, reinterpret_cast<DeviceAddress>(arrived_[i].data())) != addresses_.end();
    EXPECT_EQ(arrived_[i], is_asked_for ? tensors_[i] : Bytes(tensors_[i].size()));
  }
}

TEST_F(DeviceReaderTest, BeginsAfterTheCallersOwnWork) {
  PinnedRing ring(device_);
  // A kernel that still writes where the first tensor goes.
  const DeviceStream callers = device_.stream_of([this] { std::ranges::fill(arrived_[0], std::byte{0xee}); });
  read(ring, options(), callers);
  device_.end(callers);
  EXPECT_EQ(arrived_, tensors_);
}

TEST_F(DeviceReaderTest, CopiesNothingOfABlockThatIsDamaged) {
  PinnedRing ring(device_);
  file_.flip_bit(kDataOffset + 3 * kChunkBytes + 17, 3);
  const Error error = error_of([&] { read(ring, options()); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.context().tensor, "tensor");
  EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(kDataOffset + 3 * kChunkBytes));
  EXPECT_EQ(device_.in_flight(), 0U);
  const auto damaged = std::span(arrived_[0]).subspan(2 * kChunkBytes, kPinnedBlockBytes);
  EXPECT_TRUE(std::ranges::all_of(damaged, [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_F(DeviceReaderTest, ReportsATruncatedFile) {
  PinnedRing ring(device_);
  ASSERT_EQ(truncate(file_.ref().path.c_str(), static_cast<off_t>(kDataOffset + kChunkBytes)), 0);
  EXPECT_EQ(error_of([&] { read(ring, options()); }).code(), ErrorCode::kTruncated);
  EXPECT_EQ(device_.in_flight(), 0U);
}

TEST_F(DeviceReaderTest, RefusesAnotherNumberOfAddresses) {
  PinnedRing ring(device_);
  addresses_.pop_back();
  EXPECT_EQ(error_of([&] { read(ring, options()); }).code(), ErrorCode::kArgument);
  EXPECT_EQ(device_.calls(), 0U);
}

// Of every call of the device: once it alone, and once it and all that follow, as after an error that stays.
TEST_F(DeviceReaderTest, LeavesNothingInFlightWhicheverCallFails) {
  std::size_t calls = 0;
  {
    PinnedRing ring(device_);
    read(ring, options(IoMode::kBuffered, 1));
    calls = device_.calls();
  }
  ASSERT_GT(calls, 1000U);
  for (const std::size_t lasting : {1UL, 1'000'000UL})
    for (std::size_t failing = 1; failing <= calls; failing += failing < 50 || failing + 20 > calls ? 1 : 997) {
      FakeDevice device;
      {
        PinnedRing ring(device);
        device.fail_at(failing, lasting);
        EXPECT_EQ(error_of([&] { read(ring, options(IoMode::kBuffered, 1)); }).code(), ErrorCode::kDevice) << failing;
        EXPECT_EQ(device.in_flight(), 0U) << failing;
        device.fail_at(0);
      }
      EXPECT_EQ(device.things(), 0U) << failing;
      EXPECT_TRUE(device.faults().empty()) << failing << ": " << device.faults().front();
    }
}

TEST_F(DeviceReaderTest, GoesOnAfterAFailure) {
  PinnedRing ring(device_);
  device_.fail_at(20);
  EXPECT_EQ(error_of([&] { read(ring, options()); }).code(), ErrorCode::kDevice);
  device_.fail_at(0);
  read(ring, options());
  EXPECT_EQ(arrived_, tensors_);
}

TEST_F(DeviceReaderTest, StopsWhenInterruptedAndLeavesNothingInFlight) {
  PinnedRing ring(device_);
  spans_.assign(2000, spans_[0]);
  addresses_.assign(2000, addresses_[0]);
  ReadOptions stopped = options(IoMode::kBuffered, 1);
  stopped.work.interrupt = [] { throw std::logic_error("stop"); };
  EXPECT_THROW(read(ring, stopped), std::logic_error);
  EXPECT_EQ(device_.in_flight(), 0U);
}

TEST_F(DeviceReaderTest, CallsShareTheRing) {
  PinnedRing ring(device_);
  set_staging_bytes(2 * kPinnedBlockBytes);
  std::vector<Bytes> others;
  std::vector<DeviceAddress> addresses;
  for (const Bytes& tensor : tensors_) {
    others.emplace_back(tensor.size());
    addresses.push_back(reinterpret_cast<DeviceAddress>(others.back().data()));
  }
  {
    const std::jthread other(
        [&] { read_spans_to_device(file_.ref(), spans_, {ring, 0, addresses}, options(IoMode::kBuffered)); });
    read(ring, options());
  }
  set_staging_bytes(32 * 1024 * 1024);
  EXPECT_EQ(arrived_, tensors_);
  EXPECT_EQ(others, tensors_);
  EXPECT_LE(ring.size(), 2U);
}

}  // namespace
}  // namespace mckpt
