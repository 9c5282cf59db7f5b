#include "mckpt/stage_times.hpp"

#include <chrono>
#include <numeric>

#include "mckpt/arena.hpp"
#include "mckpt/reader.hpp"
#include "mckpt/writer.hpp"
#include "stage_clock.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using testing::Bytes;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::uint64_t kDataOffset = 4096;
constexpr std::size_t kBytes = 24 * kChunkBytes;
constexpr nanoseconds kNone{0};

nanoseconds sum(const StageTimes& times) {
  return std::accumulate(times.by_stage.begin(), times.by_stage.end(), kNone);
}

// Runs a call and demands that its workers spent no more time than they had.
template <class Call>
StageTimes times_of(Call call) {
  const auto start = steady_clock::now();
  const StageTimes times = call();
  const nanoseconds wall = steady_clock::now() - start;
  const auto workers = static_cast<std::int64_t>(get_threads() + kDeviceWorkers + 1);
  EXPECT_LE(sum(times), workers * wall);
  return times;
}

class StageTimesTest : public ::testing::Test {
 protected:
  StageTimes write(bytes_view bytes, IoMode io = IoMode::kAuto) {
    const std::vector<Segment> segments{{bytes, "tensor"}};
    return times_of([&] {
      WriteResult result = write_segments(file_.ref(), segments, kDataOffset, {.io = io});
      table_ = result.table;
      return result.times;
    });
  }

  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  Bytes data_ = random_bytes(kBytes, 1);
  Bytes table_;
};

TEST_F(StageTimesTest, AWriteHashesAndWrites) {
  const StageTimes times = write(data_, IoMode::kBuffered);
  EXPECT_GT(times[Stage::kHash], kNone);
  EXPECT_GT(times[Stage::kWrite], kNone);
  EXPECT_EQ(times[Stage::kCopy], kNone);  // written from where it lies
  EXPECT_EQ(times[Stage::kRead], kNone);
}

TEST_F(StageTimesTest, AWriteOfScatteredBytesCopiesThemToStaging) {
  const std::vector<Segment> segments{{bytes_view(data_).first(kChunkBytes), "a"},
                                      {bytes_view(data_).last(kChunkBytes), "b"}};
  const StageTimes times =
      times_of([&] { return write_segments(file_.ref(), segments, kDataOffset, {.io = IoMode::kBuffered}).times; });
  EXPECT_GT(times[Stage::kCopy], kNone);
  EXPECT_GT(times[Stage::kWait], kNone);
}

TEST_F(StageTimesTest, AReadReadsAndChecks) {
  write(data_);
  Bytes dest(kBytes);
  const std::vector<FileSpan> spans{{kDataOffset, kBytes, dest.data(), 0, "tensor"}};
  const StageTimes times =
      times_of([&] { return read_spans(file_.ref(), spans, {.table = table_, .io = IoMode::kBuffered}).times; });
  EXPECT_GT(times[Stage::kRead], kNone);
  EXPECT_GT(times[Stage::kHash], kNone);
  EXPECT_GT(times[Stage::kMemory], kNone);
  EXPECT_EQ(times[Stage::kWrite], kNone);
}

TEST_F(StageTimesTest, ACheckOfAMappingReadsAndChecks) {
  write(data_);
  const MappedFile mapping(file_.ref(), file_size(file_.ref()));
  const std::vector<FileSpan> spans{{kDataOffset, kBytes, nullptr, 0, "tensor"}};
  const StageTimes times = times_of([&] { return verify_mapping(mapping, "file", spans, {.table = table_}); });
  EXPECT_GT(times[Stage::kRead], kNone);
  EXPECT_GT(times[Stage::kHash], kNone);
  EXPECT_EQ(times[Stage::kCopy], kNone);
}

TEST_F(StageTimesTest, ALapChargesAllOfItsTimeToTheStagesThatItWentThrough) {
  StageTotals totals;
  const auto before = steady_clock::now();
  {
    StageLap lap(totals);
    lap.charge(Stage::kRead);
    lap.charge(Stage::kHash);
    lap.charge(Stage::kRead);
    EXPECT_EQ(sum(totals.times()), kNone);  // nothing before its end
  }
  EXPECT_GT(sum(totals.times()), kNone);
  EXPECT_LE(sum(totals.times()), steady_clock::now() - before);
}

}  // namespace
}  // namespace mckpt
