#include "mckpt/reader.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "block_plan.hpp"
#include "device_sink.hpp"
#include "file_source.hpp"
#include "host_sink.hpp"
#include "locate.hpp"
#include "mckpt/error.hpp"
#include "sink.hpp"
#include "stage_clock.hpp"
#include "verifier.hpp"

namespace mckpt {
namespace {

// Tensor of a block that holds a file offset, or the next one.
std::string name_at(std::span<const FileSpan> spans, std::span<const SpanPart> parts, std::int64_t offset) {
  const auto end_of = [&](const SpanPart& part) { return spans[part.span].offset + part.begin + part.length; };
  for (const SpanPart& part : parts)
    if (std::cmp_less(offset, end_of(part))) return std::string(spans[part.span].tensor);
  return std::string(spans[parts.back().span].tensor);
}

// Brings all blocks of the spans to the sink.
ReadResult read_to(Sink& sink, const FileSource& source, std::span<const FileSpan> spans, const WorkOptions& work) {
  const BlockPlan plan = plan_blocks(spans, sink.block_bytes());
  StageTotals totals;
  parallel_blocks(plan.blocks.size(), source.work_kind(), work, [&](std::size_t i) {
    const std::span<const SpanPart> parts = plan.parts_of(plan.blocks[i]);
    StageLap lap(totals);
    with_tensor_name([&] { sink.receive(plan.blocks[i], parts, lap); },
                     [&](std::int64_t offset) { return name_at(spans, parts, offset); });
  });
  {
    StageLap lap(totals);
    sink.finish();
    lap.charge(Stage::kCopy);
  }
  ReadResult result = source.result();
  result.times = totals.times();
  return result;
}

}  // namespace

ReadResult read_spans(const FileRef& file, std::span<const FileSpan> spans, const ReadOptions& options) {
  const Verifier verifier(spans, options, file.path);
  FileSource source(file, spans, options.io);
  HostSink sink(source, verifier, spans);
  return read_to(sink, source, spans, options.work);
}

ReadResult read_spans_to_device(const FileRef& file, std::span<const FileSpan> spans, const DeviceTarget& target,
                                const ReadOptions& options) {
  if (target.addresses.size() != spans.size())
    throw Error(ErrorCode::kArgument, "spans and addresses differ in number", {.path = file.path});
  const Verifier verifier(spans, options, file.path);
  FileSource source(file, spans, options.io);
  DeviceSink sink(source, verifier, spans, target);
  return read_to(sink, source, spans, options.work);
}

StageTimes verify_mapping(const MappedFile& mapping, const std::string& path, std::span<const FileSpan> spans,
                          const ReadOptions& options) {
  const Verifier verifier(spans, options, path);
  const bytes_view file = mapping.bytes();
  const auto is_outside = [&](const FileSpan& span) {
    return span.length != 0 && (span.offset > file.size() || span.length > file.size() - span.offset);
  };
  if (std::ranges::any_of(spans, is_outside))
    throw Error(ErrorCode::kArgument, "a span lies outside of the mapping", {.path = path});
  const BlockPlan plan = plan_blocks(spans);
  StageTotals totals;
  parallel_blocks(plan.blocks.size(), WorkKind::kCompute, options.work, [&](std::size_t i) {
    const ReadBlock& block = plan.blocks[i];
    StageLap lap(totals);
    const auto check = [&] {
      mapping.populate(block.offset, block.end - block.offset, path);
      lap.charge(Stage::kRead);
      for_each_batch(plan.parts_of(block), [&](std::span<const SpanPart> parts) {
        verifier.check(parts, file.data() + offset_of(spans, parts.front()));
      });
      lap.charge(Stage::kHash);
    };
    with_tensor_name(check, [&](std::int64_t offset) { return name_at(spans, plan.parts_of(block), offset); });
  });
  return totals.times();
}

}  // namespace mckpt
