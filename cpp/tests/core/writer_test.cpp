#include "mckpt/writer.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "mckpt/arena.hpp"
#include "mckpt/chunk_table.hpp"
#include "mckpt/staging.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::uint64_t kDataOffset = 2 * 4096;

std::vector<Bytes> some_tensors() {
  std::vector<Bytes> tensors;
  for (const std::size_t size : {9UL * kChunkBytes + 4096, 0UL, 4'096UL, 5UL * kChunkBytes, 77UL, 1UL, 0UL})
    tensors.push_back(random_bytes(size, size));
  for (std::size_t i = 0; i < 2000; ++i) tensors.push_back(random_bytes(i % 300, i));
  return tensors;
}

std::vector<Segment> segments_of(const std::vector<Bytes>& tensors) {
  std::vector<Segment> segments;
  for (const Bytes& tensor : tensors) segments.push_back({tensor, "tensor"});
  return segments;
}

Bytes joined(const std::vector<Bytes>& tensors) {
  Bytes bytes;
  for (const Bytes& tensor : tensors) bytes.insert(bytes.end(), tensor.begin(), tensor.end());
  return bytes;
}

struct Place {
  const char* parent;
  IoMode io;
};

class WriterTest : public ::testing::TestWithParam<Place> {
 protected:
  void expect_written(const std::vector<Segment>& segments, const Bytes& data, const Bytes& table,
                      std::uint64_t data_offset) {
    const WriteResult result = write_segments(file_.ref(), segments, data_offset, {.io = GetParam().io});
    EXPECT_EQ(result.bytes, data.size());
    EXPECT_EQ(result.table, table);
    const Bytes content = file_.content();
    ASSERT_EQ(content.size(), data_offset + data.size());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), content.begin() + static_cast<std::ptrdiff_t>(data_offset)));
    if (GetParam().io == IoMode::kBuffered) {
      EXPECT_FALSE(result.direct);
    }
  }

  TempDirectory directory_{GetParam().parent};
  TempFile file_{directory_ / "file"};
};

TEST_P(WriterTest, WritesScatteredTensorsBackToBackAndHashesThem) {
  const std::vector<Bytes> tensors = some_tensors();
  const std::vector<bytes_view> views(tensors.begin(), tensors.end());
  expect_written(segments_of(tensors), joined(tensors), digest_chunks(views), kDataOffset);
}

TEST_P(WriterTest, WritesFromAnArenaThatHasTheFilesLayout) {
  const std::vector<Bytes> tensors = some_tensors();
  const Bytes data = joined(tensors);
  const Arena arena(data.size());
  std::ranges::copy(data, arena.bytes().begin());
  std::vector<Segment> segments;
  std::size_t offset = 0;
  for (const Bytes& tensor : tensors) {
    segments.push_back({arena.bytes().subspan(offset, tensor.size()), "tensor"});
    offset += tensor.size();
  }
  const std::vector<bytes_view> views(tensors.begin(), tensors.end());
  expect_written(segments, data, digest_chunks(views), kDataOffset);
}

TEST_P(WriterTest, CutsWhatALongerFileHadBehindTheData) {
  write_all(file_.ref(), random_bytes(100'000, 1), 0);
  const std::vector<Bytes> tensors{random_bytes(5000, 1)};
  const std::vector<bytes_view> views(tensors.begin(), tensors.end());
  expect_written(segments_of(tensors), tensors[0], digest_chunks(views), 4096);
}

TEST_P(WriterTest, LeavesTheHeaderToTheCaller) {
  const Bytes header = random_bytes(kDataOffset, 5);
  write_all(file_.ref(), header, 0);
  const std::vector<Bytes> tensors = some_tensors();
  static_cast<void>(write_segments(file_.ref(), segments_of(tensors), kDataOffset, {.io = GetParam().io}));
  const Bytes content = file_.content();
  EXPECT_TRUE(std::equal(header.begin(), header.end(), content.begin()));
}

TEST_P(WriterTest, WritesNothingButTheSizeForNoBytes) {
  expect_written({}, {}, {}, kDataOffset);
  expect_written({{{}, "empty"}}, {}, {}, 0);
}

// A tmpfs takes O_DIRECT from Linux 6.6 on; before that kDirect would be refused there.
INSTANTIATE_TEST_SUITE_P(Places, WriterTest,
                         ::testing::Values(Place{"/tmp", IoMode::kAuto}, Place{"/tmp", IoMode::kBuffered},
                                           Place{"/dev/shm", IoMode::kAuto}, Place{"/dev/shm", IoMode::kBuffered}));

TEST(Writer, UsesDirectIoOrSaysThatItCannot) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  const std::vector<Bytes> tensors = some_tensors();
  const auto write = [&] { return write_segments(file.ref(), segments_of(tensors), 4096, {.io = IoMode::kDirect}); };
  if (DirectFile::open(file.ref(), DirectFile::Access::kWrite)) {
    EXPECT_TRUE(write().direct);
  } else {
    EXPECT_EQ(error_of(write).code(), ErrorCode::kIo);
  }
}

TEST(Writer, WritesBehindAnyHeaderThroughThePageCache) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  const Segment segment{{}, "tensor"};
  EXPECT_EQ(error_of([&] {
              static_cast<void>(write_segments(file.ref(), {&segment, 1}, 100, {.io = IoMode::kDirect}));
            }).code(),
            ErrorCode::kArgument);
  const Bytes bytes = random_bytes(3 * kBlockBytes, 1);
  const Segment all{bytes, "tensor"};
  EXPECT_FALSE(write_segments(file.ref(), {&all, 1}, 100).direct);
  const Bytes content = file.content();
  EXPECT_TRUE(std::ranges::equal(std::span(content).subspan(100), bytes));
}

TEST(Writer, NamesTheTensorThatItCannotWrite) {
  const TempDirectory directory;
  {
    const TempFile made(directory / "file");
  }
  const TempFile read_only(directory / "file", O_RDONLY);
  const Bytes bytes = random_bytes(10, 1);
  const std::vector<Segment> segments{{{}, "empty"}, {bytes, "tensor"}};
  const Error error = error_of([&] { static_cast<void>(write_segments(read_only.ref(), segments, 0)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().path, read_only.ref().path);
  EXPECT_EQ(error.context().system_errno, EBADF);
}

// The sum would wrap around: the file would be cut to nothing, and its beginning written over.
TEST(Writer, RefusesAPlaceBeyondTheLargestOffsetAndLeavesTheFileAlone) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  const Bytes before = random_bytes(10'000, 1);
  write_all(file.ref(), before, 0);
  const Bytes bytes = random_bytes(9 * kChunkBytes, 2);
  const std::vector<Segment> segments{Segment{bytes, "tensor"}};
  for (const std::uint64_t offset :
       {-4 * kChunkBytes, -kChunkBytes * 9, std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 4096}) {
    EXPECT_EQ(error_of([&] { static_cast<void>(write_segments(file.ref(), segments, offset)); }).code(),
              ErrorCode::kArgument);
    EXPECT_EQ(file.content(), before);
  }
}

TEST(Writer, StopsWhenInterrupted) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  const Bytes bytes = random_bytes(1 << 20, 1);
  const std::vector<Segment> segments(1000, Segment{bytes, "tensor"});
  const WriteOptions options{.work = {.threads = 1, .interrupt = [] { throw std::logic_error("stop"); }}};
  EXPECT_THROW(static_cast<void>(write_segments(file.ref(), segments, 4096, options)), std::logic_error);
}

}  // namespace
}  // namespace mckpt
