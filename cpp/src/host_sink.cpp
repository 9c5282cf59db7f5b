#include "host_sink.hpp"

#include <vector>

#include "mckpt/copier.hpp"
#include "mckpt/error.hpp"
#include "mckpt/fault_guard.hpp"

namespace mckpt {
namespace {

std::vector<std::span<std::byte>> destinations(std::span<const FileSpan> spans) {
  std::vector<std::span<std::byte>> found;
  found.reserve(spans.size());
  for (const FileSpan& span : spans)
    if (span.dest != nullptr) found.emplace_back(span.dest, span.length);
  return found;
}

}  // namespace

// A staging buffer that is taken when it is first needed.
class HostSink::LazyStaging {
 public:
  [[nodiscard]] std::span<std::byte> bytes() { return (buffer_ ? *buffer_ : buffer_.emplace()).bytes(); }

 private:
  std::optional<StagingBuffer> buffer_;
};

HostSink::HostSink(FileSource& source, const Verifier& verifier, std::span<const FileSpan> spans)
    : source_(source), verifier_(verifier), spans_(spans), prefaulter_(destinations(spans)) {}

void HostSink::receive(const ReadBlock& block, std::span<const SpanPart> parts, StageLap& lap) {
  LazyStaging staging;
  source_.read_block(block, [&](bool is_direct) {
    lap.charge(Stage::kRead);  // the look into the page cache
    for_each_batch(parts, [&](std::span<const SpanPart> batch) {
      prepare(batch);
      lap.charge(Stage::kMemory);
      is_direct = is_direct && receive_directly(batch, staging, lap);
      if (!is_direct) receive_buffered(batch, staging, lap);
    });
  });
}

void HostSink::prepare(std::span<const SpanPart> batch) noexcept {
  for (const SpanPart& part : batch)
    if (dest_of(part) != nullptr) prefaulter_.prepare({dest_of(part), part.length});
}

// Returns false where the file system refuses.
bool HostSink::receive_directly(std::span<const SpanPart> batch, LazyStaging& staging, StageLap& lap) {
  const std::span<std::byte> buffer = staging.bytes();
  lap.charge(Stage::kWait);
  const std::byte* const bytes = source_.read_direct(range_of(spans_, batch), buffer);
  lap.charge(Stage::kRead);
  if (bytes == nullptr) return false;
  deliver(batch, bytes, lap);
  return true;
}

// A large tensor's bytes go into its own memory, many small ones' (or those that are only checked) into staging.
void HostSink::receive_buffered(std::span<const SpanPart> batch, LazyStaging& staging, StageLap& lap) {
  std::byte* into = batch.size() == 1 ? dest_of(batch.front()) : nullptr;
  if (into == nullptr) into = staging.bytes().data();
  lap.charge(Stage::kWait);
  source_.read_buffered(range_of(spans_, batch), into);
  lap.charge(Stage::kRead);
  deliver(batch, into, lap);
}

// Verifies a batch that lies at `source` as in the file, and copies it to where it is not yet.
void HostSink::deliver(std::span<const SpanPart> batch, const std::byte* source, StageLap& lap) const {
  verifier_.check(batch, source);
  lap.charge(Stage::kHash);
  const std::uint64_t begin = offset_of(spans_, batch.front());
  const std::byte* const lost = lost_address([&] {
    for (const SpanPart& part : batch) {
      const bytes_view bytes{source + (offset_of(spans_, part) - begin), part.length};
      std::byte* const dest = dest_of(part);
      if (dest != nullptr && dest != bytes.data()) stream_copy(dest, bytes);
    }
  });
  lap.charge(Stage::kCopy);
  if (lost != nullptr) throw Error(ErrorCode::kTruncated, "the destination is mapped from a file that has shrunk");
}

std::byte* HostSink::dest_of(const SpanPart& part) const {
  std::byte* const dest = spans_[part.span].dest;
  return dest == nullptr ? nullptr : dest + part.begin;
}

}  // namespace mckpt
