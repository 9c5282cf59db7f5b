#include <vector>

#include "device_copies.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/error.hpp"
#include "mckpt/fault_guard.hpp"
#include "segment_index.hpp"

namespace mckpt {
namespace {

// Sources as if they lay one behind the other in a file.
std::vector<FileSpan> laid_out(std::span<const bytes_view> sources) {
  std::vector<FileSpan> spans;
  spans.reserve(sources.size());
  std::uint64_t offset = 0;
  for (const bytes_view source : sources) {
    spans.push_back({offset, source.size(), nullptr, 0, {}});
    offset += source.size();
  }
  return spans;
}

}  // namespace

void copy_to_device(const DeviceTarget& target, std::span<const bytes_view> sources, const WorkOptions& options) {
  if (target.addresses.size() != sources.size())
    throw Error(ErrorCode::kArgument, "sources and addresses differ in number");
  const std::vector<FileSpan> spans = laid_out(sources);
  const BlockPlan plan = plan_blocks(spans, kPinnedBlockBytes);
  DeviceCopies copies(target);
  parallel_blocks(plan.blocks.size(), WorkKind::kCompute, options, [&](std::size_t i) {
    const ReadBlock& block = plan.blocks[i];
    const DeviceScope scope(target.ring.device());
    PinnedRing::Buffer buffer = target.ring.take();
    const std::byte* const lost = lost_address([&] {
      for (const SpanPart& part : plan.parts_of(block))
        stream_copy(buffer.bytes().data() + (offset_of(spans, part) - block.offset),
                    sources[part.span].subspan(part.begin, part.length));
    });
    if (lost != nullptr) SegmentIndex(sources).throw_lost(lost);
    copies.enqueue(buffer, spans, plan.parts_of(block), buffer.bytes().data());
  });
  copies.finish();
}

}  // namespace mckpt
