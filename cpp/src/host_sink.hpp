// Host memory as a place to read to.
#pragma once

#include <optional>
#include <span>

#include "file_source.hpp"
#include "io/prefaulter.hpp"
#include "mckpt/staging.hpp"
#include "sink.hpp"
#include "verifier.hpp"

namespace mckpt {

// Reads straight into the spans' own memory, or through staging where that cannot be. Refers to its arguments.
class HostSink final : public Sink {
 public:
  HostSink(FileSource& source, const Verifier& verifier, std::span<const FileSpan> spans);

  [[nodiscard]] std::uint64_t block_bytes() const noexcept override { return kBlockBytes; }
  // Batch by batch, so that the bytes are hashed while the core's cache has them.
  void receive(const ReadBlock& block, std::span<const SpanPart> parts, StageLap& lap) override;
  void finish() override {}

 private:
  class LazyStaging;

  void prepare(std::span<const SpanPart> batch) noexcept;
  bool receive_directly(std::span<const SpanPart> batch, LazyStaging& staging, StageLap& lap);
  void receive_buffered(std::span<const SpanPart> batch, LazyStaging& staging, StageLap& lap);
  void deliver(std::span<const SpanPart> batch, const std::byte* source, StageLap& lap) const;
  [[nodiscard]] std::byte* dest_of(const SpanPart& part) const;

  FileSource& source_;
  const Verifier& verifier_;
  std::span<const FileSpan> spans_;
  Prefaulter prefaulter_;
};

}  // namespace mckpt
