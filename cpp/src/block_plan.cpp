#include "block_plan.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "mckpt/error.hpp"

namespace mckpt {
namespace {

// Reading over a gap of this size takes less time than another request to the device.
constexpr std::uint64_t kMaxGapBytes = 64 * 1024;

static_assert(kBlockBytes % kChunkBytes == 0, "parts begin at chunks");

std::vector<std::size_t> order_by_offset(std::span<const FileSpan> spans) {
  std::vector<std::size_t> order(spans.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) { return spans[a].offset < spans[b].offset; };
  if (!std::ranges::is_sorted(order, before)) std::ranges::stable_sort(order, before);
  return order;
}

// Bytes from `offset` on that the last block can still take.
std::uint64_t room_at(const BlockPlan& plan, std::uint64_t offset, std::uint64_t block_bytes) {
  if (plan.blocks.empty()) return 0;
  const ReadBlock& last = plan.blocks.back();
  const bool is_near = offset >= last.end && offset - last.end <= kMaxGapBytes;
  return is_near ? block_bytes - std::min(offset - last.offset, block_bytes) : 0;
}

// Adds a part of at most `rest` bytes and returns its length. A part that does not end its span ends at a chunk.
std::uint64_t add_part(BlockPlan& plan, std::size_t span, std::uint64_t begin, std::uint64_t offset, std::uint64_t rest,
                       std::uint64_t block_bytes) {
  const std::uint64_t room = room_at(plan, offset, block_bytes);
  const std::uint64_t joining = rest <= room ? rest : room / kChunkBytes * kChunkBytes;
  if (joining == 0) plan.blocks.push_back({offset, offset, plan.parts.size(), plan.parts.size()});
  const std::uint64_t length = joining != 0 ? joining : std::min(rest, block_bytes);
  plan.parts.push_back({span, begin, length});
  plan.blocks.back().end = offset + length;
  plan.blocks.back().end_part = plan.parts.size();
  return length;
}

void require_file_range(const FileSpan& span) {
  constexpr auto kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (span.offset > kMaxOffset || span.length > kMaxOffset - span.offset)
    throw Error(ErrorCode::kArgument, "a span ends beyond the largest file offset",
                {.tensor = std::string(span.tensor)});
}

}  // namespace

BlockPlan plan_blocks(std::span<const FileSpan> spans, std::uint64_t block_bytes) {
  BlockPlan plan;
  plan.parts.reserve(spans.size());
  for (const std::size_t i : order_by_offset(spans)) {
    const FileSpan& span = spans[i];
    require_file_range(span);
    for (std::uint64_t begin = 0; begin < span.length;)
      begin += add_part(plan, i, begin, span.offset + begin, span.length - begin, block_bytes);
  }
  return plan;
}

}  // namespace mckpt
