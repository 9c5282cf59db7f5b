// Stored bytes are changed and must be found out: where, and in which tensor.
#include <algorithm>
#include <string>

#include "mckpt/reader.hpp"
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

struct Reading {
  IoMode io;
  Check check;
  bool has_dest;
};

// Tensors "0", "1", ... of these sizes.
class CorruptionTest : public ::testing::TestWithParam<Reading> {
 protected:
  CorruptionTest() {
    std::vector<Segment> segments;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      tensors_.push_back(random_bytes(sizes_[i], i));
      names_.push_back(std::to_string(i));
    }
    for (std::size_t i = 0; i < sizes_.size(); ++i) segments.push_back({tensors_[i], names_[i]});
    table_ = write_segments(file_.ref(), segments, kDataOffset).table;
    sync_file(file_.ref());
    std::uint64_t chunk = 0;
    std::uint64_t offset = kDataOffset;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      spans_.push_back({offset, sizes_[i], GetParam().has_dest ? tensors_[i].data() : nullptr, chunk, names_[i]});
      chunk += chunk_count(sizes_[i]);
      offset += sizes_[i];
    }
  }

  [[nodiscard]] Error error_of_reading() {
    return error_of(
        [&] { read_spans(file_.ref(), spans_, {.table = table_, .check = GetParam().check, .io = GetParam().io}); });
  }

  void SetUp() override {
    const bool is_direct = DirectFile::open(file_.ref(), DirectFile::Access::kRead).has_value();
    if (GetParam().io == IoMode::kDirect && !is_direct) GTEST_SKIP() << "no O_DIRECT here";
  }

  std::vector<std::size_t> sizes_{5 * kChunkBytes + 100, 40, 0, 7, 300'000, 1};
  std::vector<Bytes> tensors_;
  std::vector<std::string> names_;
  std::vector<FileSpan> spans_;
  Bytes table_;
  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
};

TEST_P(CorruptionTest, EveryFlippedBitIsFoundInItsTensorAndChunk) {
  std::uint64_t step = 0;
  for (const FileSpan& span : spans_)
    for (std::uint64_t at = 0; at < span.length; at += std::max<std::uint64_t>(span.length / 7, 1)) {
      const auto bit = static_cast<unsigned>(step++ % 8);
      file_.flip_bit(span.offset + at, bit);
      const Error error = error_of_reading();
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_EQ(error.context().tensor, span.tensor);
      EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(span.offset + at / kChunkBytes * kChunkBytes));
      EXPECT_EQ(error.context().path, file_.ref().path);
      file_.flip_bit(span.offset + at, bit);
    }
  read_spans(file_.ref(), spans_, {.table = table_, .check = GetParam().check, .io = GetParam().io});
}

TEST_P(CorruptionTest, EveryTruncationIsFoundInItsTensor) {
  const std::uint64_t size = file_size(file_.ref());
  for (const FileSpan& span : spans_) {
    if (span.length == 0) continue;
    for (const std::uint64_t cut : {span.offset + span.length - 1, span.offset + span.length / 2}) {
      const Bytes lost = [&] {
        Bytes bytes(size - cut);
        read_all(file_.ref(), bytes, cut);
        return bytes;
      }();
      ASSERT_EQ(ftruncate(file_.ref().fd, static_cast<off_t>(cut)), 0);
      const Error error = error_of_reading();
      EXPECT_EQ(error.code(), ErrorCode::kTruncated);
      EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(cut));
      write_all(file_.ref(), lost, cut);
    }
  }
}

TEST_P(CorruptionTest, ExchangedChunksAreFound) {
  Bytes first(kChunkBytes);
  Bytes second(kChunkBytes);
  read_all(file_.ref(), first, kDataOffset);
  read_all(file_.ref(), second, kDataOffset + kChunkBytes);
  write_all(file_.ref(), second, kDataOffset);
  write_all(file_.ref(), first, kDataOffset + kChunkBytes);
  EXPECT_EQ(error_of_reading().code(), ErrorCode::kCorrupt);
}

TEST_P(CorruptionTest, AChangedTableIsFound) {
  for (const std::size_t byte : {0UL, 31UL, 32UL, 35UL}) {
    table_[byte] ^= std::byte{1};
    const bool is_read = (byte < 32) == (GetParam().check == Check::kSha256);
    if (is_read) {
      EXPECT_EQ(error_of_reading().code(), ErrorCode::kCorrupt);
    }
    table_[byte] ^= std::byte{1};
  }
}

INSTANTIATE_TEST_SUITE_P(Readings, CorruptionTest,
                         ::testing::Values(Reading{IoMode::kAuto, Check::kSha256, true},
                                           Reading{IoMode::kAuto, Check::kSha256, false},
                                           Reading{IoMode::kDirect, Check::kSha256, true},
                                           Reading{IoMode::kBuffered, Check::kCrc32c, true},
                                           Reading{IoMode::kBuffered, Check::kCrc32c, false}));

}  // namespace
}  // namespace mckpt
