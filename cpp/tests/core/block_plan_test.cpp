#include "block_plan.hpp"

#include <limits>
#include <random>

#include "mckpt/staging.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

constexpr std::uint64_t kMiB = kChunkBytes;

FileSpan span_at(std::uint64_t offset, std::uint64_t length) {
  FileSpan span;
  span.offset = offset;
  span.length = length;
  return span;
}

// Checks what readers rely on: every byte of every span is in one part, blocks fit a staging buffer, and parts begin at
// chunks and lie in their block in order.
void expect_sound(std::span<const FileSpan> spans, const BlockPlan& plan) {
  std::vector<std::uint64_t> covered(spans.size());
  for (const ReadBlock& block : plan.blocks) {
    EXPECT_LE(block.end - block.offset, kBlockBytes);
    std::uint64_t position = block.offset;
    for (const SpanPart& part : plan.parts_of(block)) {
      EXPECT_EQ(part.begin, covered[part.span]);
      EXPECT_EQ(part.begin % kChunkBytes, 0U);
      EXPECT_GE(spans[part.span].offset + part.begin, position);
      position = spans[part.span].offset + part.begin + part.length;
      covered[part.span] += part.length;
    }
    EXPECT_EQ(position, block.end);
  }
  for (std::size_t i = 0; i < spans.size(); ++i) EXPECT_EQ(covered[i], spans[i].length);
}

TEST(BlockPlan, IsSoundForAnySpans) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<FileSpan> spans;
    for (std::uint64_t count = random() % 30; count != 0; --count)
      spans.push_back(span_at(random() % (20 * kMiB), random() % (std::uint64_t{1} << (random() % 25))));
    expect_sound(spans, plan_blocks(spans));
  }
}

TEST(BlockPlan, JoinsWhatIsAdjacent) {
  std::vector<FileSpan> spans;
  for (std::uint64_t i = 0; i < 1000; ++i) spans.push_back(span_at(4096 + i * 100, 100));
  EXPECT_EQ(plan_blocks(spans).blocks.size(), 1U);
}

TEST(BlockPlan, ReadsOverSmallGapsOnly) {
  EXPECT_EQ(plan_blocks(std::vector{span_at(0, 10), span_at(60'000, 10)}).blocks.size(), 1U);
  EXPECT_EQ(plan_blocks(std::vector{span_at(0, 10), span_at(600'000, 10)}).blocks.size(), 2U);
}

TEST(BlockPlan, FillsBlocksAcrossSpans) {
  const std::vector spans{span_at(0, 5 * kMiB), span_at(5 * kMiB, 7 * kMiB)};
  EXPECT_EQ(plan_blocks(spans).blocks.size(), 3U);
}

TEST(BlockPlan, LeavesEmptySpansOut) {
  EXPECT_TRUE(plan_blocks(std::vector{span_at(5, 0), span_at(7, 0)}).blocks.empty());
  EXPECT_TRUE(plan_blocks({}).blocks.empty());
}

TEST(BlockPlan, RefusesSpansBeyondTheLargestOffset) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  for (const FileSpan& span : {span_at(kMax, 1), span_at(1, kMax), span_at(kMax / 2, 1)})
    EXPECT_EQ(testing::error_of([&] { static_cast<void>(plan_blocks({&span, 1})); }).code(), ErrorCode::kArgument);
}

TEST(Batches, HoldAboutAChunkAndBeginAtChunks) {
  const std::vector<SpanPart> parts{{0, 0, 3 * kMiB + 5}, {1, 0, 10}, {2, 0, 20}, {3, 2 * kMiB, kMiB}};
  std::vector<std::vector<SpanPart>> batches;
  for_each_batch(parts, [&](std::span<const SpanPart> batch) { batches.emplace_back(batch.begin(), batch.end()); });
  ASSERT_EQ(batches.size(), 5U);
  EXPECT_EQ(batches[2].front().begin, 2 * kMiB);
  ASSERT_EQ(batches[3].size(), 3U);
  EXPECT_EQ(batches[3][0].length, 5U);
  EXPECT_EQ(batches[3][2].span, 2U);
  EXPECT_EQ(batches[4].front().begin, 2 * kMiB);
}

TEST(Batches, AreLimitedInNumber) {
  const std::vector<SpanPart> parts(1000, SpanPart{0, 0, 1});
  std::size_t seen = 0;
  for_each_batch(parts, [&](std::span<const SpanPart> batch) {
    EXPECT_LE(batch.size(), kBatchParts);
    seen += batch.size();
  });
  EXPECT_EQ(seen, parts.size());
}

}  // namespace
}  // namespace mckpt
