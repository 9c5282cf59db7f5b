// Device memory as a place to read to.
#pragma once

#include <span>

#include "device/pinned_ring.hpp"
#include "device_copies.hpp"
#include "file_source.hpp"
#include "sink.hpp"
#include "verifier.hpp"

namespace mckpt {

// Reads blocks into page-locked buffers, verifies them there, and lets the device fetch them. Refers to its arguments.
class DeviceSink final : public Sink {
 public:
  DeviceSink(FileSource& source, const Verifier& verifier, std::span<const FileSpan> spans, const DeviceTarget& target)
      : source_(source), verifier_(verifier), spans_(spans), target_(target), copies_(target) {}

  [[nodiscard]] std::uint64_t block_bytes() const noexcept override { return kPinnedBlockBytes; }
  // The whole block at once: the buffer must not change any more when it was verified, and batches share sectors.
  void receive(const ReadBlock& block, std::span<const SpanPart> parts, StageLap& lap) override;
  void finish() override { copies_.finish(); }

 private:
  const std::byte* read(const ReadBlock& block, std::span<std::byte> buffer);
  void verify(std::span<const SpanPart> parts, const std::byte* source) const;

  FileSource& source_;
  const Verifier& verifier_;
  std::span<const FileSpan> spans_;
  const DeviceTarget& target_;
  DeviceCopies copies_;
};

}  // namespace mckpt
