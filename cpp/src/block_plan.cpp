#include "block_plan.hpp"

#include <algorithm>
#include <numeric>

#include "mckpt/staging.hpp"

namespace mckpt {
namespace {

// Reading over a gap of this size takes less time than another request to the device.
constexpr std::uint64_t kMaxGapBytes = 64 * 1024;

static_assert(kBlockBytes % kChunkBytes == 0, "parts begin at chunks");

std::vector<std::size_t> order_by_offset(std::span<const FileSpan> spans) {
  std::vector<std::size_t> order(spans.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) { return spans[a].offset < spans[b].offset; };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::stable_sort(order.begin(), order.end(), before);
  return order;
}

bool joins(const ReadBlock& block, std::uint64_t offset, std::uint64_t length) {
  return offset >= block.end && offset - block.end <= kMaxGapBytes && offset + length - block.offset <= kBlockBytes;
}

void add_part(BlockPlan& plan, const SpanPart& part, std::uint64_t offset) {
  plan.parts.push_back(part);
  if (!plan.blocks.empty() && joins(plan.blocks.back(), offset, part.length)) {
    plan.blocks.back().end = offset + part.length;
    plan.blocks.back().end_part = plan.parts.size();
  } else {
    plan.blocks.push_back({offset, offset + part.length, plan.parts.size() - 1, plan.parts.size()});
  }
}

}  // namespace

BlockPlan plan_blocks(std::span<const FileSpan> spans) {
  BlockPlan plan;
  plan.parts.reserve(spans.size());
  for (const std::size_t i : order_by_offset(spans))
    for (std::uint64_t begin = 0; begin < spans[i].length; begin += kBlockBytes)
      add_part(plan, {i, begin, std::min<std::uint64_t>(kBlockBytes, spans[i].length - begin)},
               spans[i].offset + begin);
  return plan;
}

}  // namespace mckpt
