#include "mckpt/reader.hpp"

#include <algorithm>
#include <stdexcept>

#include "mckpt/writer.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::uint64_t kDataOffset = 4096;

// A file of tensors, and buffers to read it into.
class TensorFile {
 public:
  explicit TensorFile(const std::string& parent) : directory_(parent) {
    for (const std::size_t size : {9UL * kChunkBytes + 4096, 0UL, 4'096UL, 5UL * kChunkBytes + 3, 77UL})
      tensors_.push_back(random_bytes(size, size));
    for (std::size_t i = 0; i < 1000; ++i) tensors_.push_back(random_bytes(i % 300, i));
    std::vector<Segment> segments;
    for (const Bytes& tensor : tensors_) segments.push_back({tensor, "tensor"});
    table_ = write_segments(file_.ref(), segments, kDataOffset).table;
    sync_file(file_.ref());
    for (const Bytes& tensor : tensors_) read_.emplace_back(tensor.size());
  }

  // All tensors, into read(), in the order of the file.
  [[nodiscard]] std::vector<FileSpan> spans() {
    std::vector<FileSpan> spans;
    std::uint64_t offset = kDataOffset;
    std::uint64_t chunk = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      spans.push_back({offset, tensors_[i].size(), read_[i].data(), chunk, "tensor"});
      offset += tensors_[i].size();
      chunk += chunk_count(tensors_[i].size());
    }
    return spans;
  }

  [[nodiscard]] std::uint64_t data_bytes() const { return file_size(file_.ref()) - kDataOffset; }
  [[nodiscard]] const TempFile& file() const { return file_; }
  [[nodiscard]] const Bytes& table() const { return table_; }
  [[nodiscard]] const std::vector<Bytes>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<Bytes>& read() const { return read_; }

 private:
  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  std::vector<Bytes> tensors_;
  std::vector<Bytes> read_;
  Bytes table_;
};

struct Way {
  const char* parent;
  IoMode io;
  bool is_cached;
  Check check;
};

class ReaderTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    const bool is_direct = DirectFile::open(stored_.file().ref(), DirectFile::Access::kRead).has_value();
    if (GetParam().io == IoMode::kDirect && !is_direct) GTEST_SKIP() << "no O_DIRECT in " << GetParam().parent;
    if (GetParam().is_cached)
      static_cast<void>(stored_.file().content());
    else
      drop_cache(stored_.file().ref());
  }

  [[nodiscard]] ReadOptions options() const {
    return {.table = stored_.table(), .check = GetParam().check, .io = GetParam().io};
  }

  TensorFile stored_{GetParam().parent};
};

TEST_P(ReaderTest, ReadsEveryTensor) {
  const ReadResult result = read_spans(stored_.file().ref(), stored_.spans(), options());
  EXPECT_EQ(stored_.read(), stored_.tensors());
  EXPECT_EQ(result.direct_bytes + result.buffered_bytes, stored_.data_bytes());
  if (GetParam().io == IoMode::kBuffered) {
    EXPECT_EQ(result.direct_bytes, 0U);
  }
  if (GetParam().io == IoMode::kDirect) {
    EXPECT_EQ(result.buffered_bytes, 0U);
  }
}

TEST_P(ReaderTest, ReadsTensorsInAnyOrder) {
  std::vector<FileSpan> reversed = stored_.spans();
  std::ranges::reverse(reversed);
  read_spans(stored_.file().ref(), reversed, options());
  EXPECT_EQ(stored_.read(), stored_.tensors());
}

TEST_P(ReaderTest, ReadsChunksOutOfATensor) {
  FileSpan part = stored_.spans()[0];
  part.offset += 2 * kChunkBytes;
  part.first_chunk += 2;
  part.length = 3 * kChunkBytes;
  read_spans(stored_.file().ref(), {&part, 1}, options());
  const auto expected = std::span(stored_.tensors()[0]).subspan(2 * kChunkBytes, part.length);
  EXPECT_TRUE(std::ranges::equal(std::span(stored_.read()[0]).first(part.length), expected));
}

TEST_P(ReaderTest, ChecksWithoutADestination) {
  std::vector<FileSpan> checked = stored_.spans();
  for (FileSpan& span : checked) span.dest = nullptr;
  const ReadResult result = read_spans(stored_.file().ref(), checked, options());
  EXPECT_EQ(result.direct_bytes + result.buffered_bytes, stored_.data_bytes());
}

INSTANTIATE_TEST_SUITE_P(Ways, ReaderTest,
                         ::testing::Values(Way{"/tmp", IoMode::kAuto, true, Check::kSha256},
                                           Way{"/tmp", IoMode::kAuto, false, Check::kSha256},
                                           Way{"/tmp", IoMode::kDirect, true, Check::kCrc32c},
                                           Way{"/tmp", IoMode::kBuffered, false, Check::kCrc32c},
                                           Way{"/tmp", IoMode::kAuto, false, Check::kNone},
                                           Way{"/dev/shm", IoMode::kAuto, true, Check::kSha256},
                                           Way{"/dev/shm", IoMode::kDirect, true, Check::kNone}));

class ReaderErrors : public ::testing::Test {
 protected:
  TensorFile stored_{::testing::TempDir()};
};

TEST_F(ReaderErrors, TakesThePageCacheWhereItHasTheBytes) {
  static_cast<void>(stored_.file().content());
  const PageCacheProbe probe(stored_.file().ref(), file_size(stored_.file().ref()));
  if (!probe.is_cached(0, file_size(stored_.file().ref()))) GTEST_SKIP() << "the kernel dropped pages";
  EXPECT_EQ(read_spans(stored_.file().ref(), stored_.spans(), {.table = stored_.table()}).direct_bytes, 0U);
}

TEST_F(ReaderErrors, ReadsAnyRangeWithoutATable) {
  Bytes bytes(100);
  const FileSpan span{kDataOffset + 12'345, bytes.size(), bytes.data(), 0, "tensor"};
  read_spans(stored_.file().ref(), {&span, 1}, {.check = Check::kNone});
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(stored_.tensors()[0]).subspan(12'345, 100)));
}

TEST_F(ReaderErrors, RefusesATableThatLacksChunks) {
  const auto shorter = std::span(stored_.table()).first(stored_.table().size() - 1);
  const Error error = error_of([&] { read_spans(stored_.file().ref(), stored_.spans(), {.table = shorter}); });
  EXPECT_EQ(error.code(), ErrorCode::kArgument);
  FileSpan span = stored_.spans()[0];
  span.first_chunk = UINT64_MAX;
  EXPECT_EQ(error_of([&] { read_spans(stored_.file().ref(), {&span, 1}, {.table = stored_.table()}); }).code(),
            ErrorCode::kArgument);
}

TEST_F(ReaderErrors, ReportsAFailedReadWithTheTensor) {
  const TempFile write_only(stored_.file().ref().path, O_WRONLY);
  const Error error = error_of(
      [&] { read_spans(write_only.ref(), stored_.spans(), {.table = stored_.table(), .io = IoMode::kBuffered}); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().tensor, "tensor");
}

// A plan of 2^62 bytes would take 2^44.
TEST_F(ReaderErrors, RefusesASpanFarBeyondTheFileWithoutPlanningIt) {
  const std::uint64_t size = file_size(stored_.file().ref());
  const std::vector<FileSpan> spans{stored_.spans()[0], {8192, std::uint64_t{1} << 62, nullptr, 0, "long"}};
  const Error error = error_of([&] { read_spans(stored_.file().ref(), spans, {.check = Check::kNone}); });
  EXPECT_EQ(error.code(), ErrorCode::kTruncated);
  EXPECT_EQ(error.context().tensor, "long");
  EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(size));
  const MappedFile mapping(stored_.file().ref(), size);
  EXPECT_EQ(error_of([&] { verify_mapping(mapping, "file", spans, {.check = Check::kNone}); }).code(),
            ErrorCode::kArgument);
}

TEST_F(ReaderErrors, StopsWhenInterrupted) {
  const std::vector<FileSpan> many(2000, stored_.spans()[0]);
  const ReadOptions options{.table = stored_.table(),
                            .work = {.threads = 1, .interrupt = [] { throw std::logic_error("stop"); }}};
  EXPECT_THROW(read_spans(stored_.file().ref(), many, options), std::logic_error);
}

TEST_F(ReaderErrors, ChecksAMappingInPlace) {
  const MappedFile mapping(stored_.file().ref(), file_size(stored_.file().ref()));
  verify_mapping(mapping, "file", stored_.spans(), {.table = stored_.table()});
  verify_mapping(mapping, "file", stored_.spans(), {.table = stored_.table(), .check = Check::kCrc32c});
  mapping.bytes()[kDataOffset] ^= std::byte{1};
  const Error error = error_of([&] { verify_mapping(mapping, "file", stored_.spans(), {.table = stored_.table()}); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(kDataOffset));
}

TEST_F(ReaderErrors, RefusesSpansOutsideOfAMapping) {
  const MappedFile mapping(stored_.file().ref(), kDataOffset + 2 * kChunkBytes);
  const std::vector<FileSpan> overlapping{stored_.spans()[0], {kDataOffset + 1, 10, nullptr, 0, "inside"}};
  EXPECT_EQ(error_of([&] { verify_mapping(mapping, "file", overlapping, {.table = stored_.table()}); }).code(),
            ErrorCode::kArgument);
}

}  // namespace
}  // namespace mckpt
