#include "device_sink.hpp"

namespace mckpt {

void DeviceSink::receive(const ReadBlock& block, std::span<const SpanPart> parts, StageLap& lap) {
  const DeviceScope scope(target_.ring.device());
  PinnedRing::Buffer buffer = target_.ring.take();
  lap.charge(Stage::kWait);
  const std::byte* const source = read(block, buffer.bytes());
  lap.charge(Stage::kRead);
  verify(parts, source);
  lap.charge(Stage::kHash);
  copies_.enqueue(buffer, spans_, parts, source);
  lap.charge(Stage::kCopy);
}

const std::byte* DeviceSink::read(const ReadBlock& block, std::span<std::byte> buffer) {
  const Range range{block.offset, block.end};
  const std::byte* source = nullptr;
  source_.read_block(block, [&](bool is_direct) {
    if (is_direct) source = source_.read_direct(range, buffer);
    if (source != nullptr) return;
    source_.read_buffered(range, buffer.data());
    source = buffer.data();
  });
  return source;
}

void DeviceSink::verify(std::span<const SpanPart> parts, const std::byte* source) const {
  const std::uint64_t begin = offset_of(spans_, parts.front());
  for_each_batch(parts, [&](std::span<const SpanPart> batch) {
    verifier_.check(batch, source + (offset_of(spans_, batch.front()) - begin));
  });
}

}  // namespace mckpt
