#include "device_copies.hpp"

namespace mckpt {

DeviceCopies::DeviceCopies(const DeviceTarget& target)
    : target_(target), scope_(target.ring.device()), begin_(target.ring.device()) {
  target.ring.device().record(begin_.get(), target.stream);
}

DeviceCopies::~DeviceCopies() {
  if (!is_finished_) target_.ring.drain();
}

void DeviceCopies::enqueue(PinnedRing::Buffer& buffer, std::span<const FileSpan> spans, std::span<const SpanPart> parts,
                           const std::byte* source) const {
  const std::uint64_t begin = offset_of(spans, parts.front());
  buffer.follow(begin_.get());
  for (const SpanPart& part : parts)
    buffer.copy(target_.addresses[part.span] + part.begin, {source + (offset_of(spans, part) - begin), part.length});
  buffer.finish();
}

void DeviceCopies::finish() {
  target_.ring.wait();
  is_finished_ = true;
}

}  // namespace mckpt
