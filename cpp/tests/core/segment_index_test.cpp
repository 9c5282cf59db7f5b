#include "segment_index.hpp"

#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;

constexpr std::uint64_t kMiB = kChunkBytes;

class SegmentIndexTest : public ::testing::Test {
 protected:
  // Empty segments stand at the ends and in between.
  Bytes memory_ = Bytes(5 * kMiB);
  std::vector<bytes_view> segments_{{}, bytes(10), {}, {}, bytes(2 * kMiB + 7), bytes(kMiB), {}};
  SegmentIndex index_{segments_};

  [[nodiscard]] bytes_view bytes(std::size_t size) const { return std::span(memory_).first(size); }
};

TEST_F(SegmentIndexTest, CountsBytesAndChunks) {
  EXPECT_EQ(index_.bytes(), 10 + 2 * kMiB + 7 + kMiB);
  EXPECT_EQ(index_.chunks(), 1 + 3 + 1U);
  EXPECT_EQ(SegmentIndex({}).bytes(), 0U);
  EXPECT_EQ(SegmentIndex({}).chunks(), 0U);
}

TEST_F(SegmentIndexTest, FindsTheSegmentOfAPosition) {
  EXPECT_EQ(index_.find(0), 1U);
  EXPECT_EQ(index_.find(9), 1U);
  EXPECT_EQ(index_.find(10), 4U);
  EXPECT_EQ(index_.find(index_.bytes() - 1), 5U);
}

TEST_F(SegmentIndexTest, CoversAnyRangeWithPieces) {
  for (const Range range : {Range{0, index_.bytes()}, Range{3, 12}, Range{10, 11}, Range{9, 2 * kMiB + 20}}) {
    std::uint64_t position = range.begin;
    index_.for_each_piece(range, [&](const Piece& piece) {
      EXPECT_EQ(piece.begin, position);
      EXPECT_FALSE(piece.bytes.empty());
      position += piece.bytes.size();
    });
    EXPECT_EQ(position, range.end);
  }
  index_.for_each_piece({5, 5}, [](const Piece&) { FAIL(); });
}

TEST_F(SegmentIndexTest, MeetsEveryChunkOnceHoweverTheRangesAreCut) {
  for (const std::uint64_t step : {std::uint64_t{1000}, kMiB, kMiB + 1, 10 * kMiB}) {
    std::vector<Chunk> chunks;
    for (std::uint64_t begin = 0; begin < index_.bytes(); begin += step)
      index_.for_each_chunk({begin, std::min(begin + step, index_.bytes())},
                            [&](const Chunk& chunk) { chunks.push_back(chunk); });
    ASSERT_EQ(chunks.size(), index_.chunks());
    for (std::size_t i = 0; i < chunks.size(); ++i) EXPECT_EQ(chunks[i].index, i);
    EXPECT_EQ(chunks[3].bytes.size(), 7U);
    EXPECT_EQ(chunks[3].begin, 10 + 2 * kMiB);
    EXPECT_EQ(chunks[4].segment, 5U);
  }
}

}  // namespace
}  // namespace mckpt
