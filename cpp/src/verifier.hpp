// Compares chunks with a chunk table.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "block_plan.hpp"
#include "mckpt/reader.hpp"

namespace mckpt {

// Refers to its arguments; immutable, so that workers share it.
class Verifier {
 public:
  // kArgument unless the table has all chunks of all spans.
  Verifier(std::span<const FileSpan> spans, const ReadOptions& options, const std::string& path);

  // Checks parts of one chunk each, which lie at `source` as they do in the file, the gaps between them included;
  // kCorrupt for the first that differs, kTruncated where the memory is a mapping and its file has lost the bytes.
  // Precondition: at most kBatchParts.
  void check(std::span<const SpanPart> parts, const std::byte* source) const;

 private:
  [[nodiscard]] std::uint64_t chunk_index(const SpanPart& part) const;
  void check_digests(std::span<const SpanPart> parts, std::span<const bytes_view> bytes) const;
  void check_checksums(std::span<const SpanPart> parts, std::span<const bytes_view> bytes) const;
  void check_not_lost(std::span<const SpanPart> parts, std::span<const bytes_view> bytes, const std::byte* lost) const;
  [[noreturn]] void throw_corrupt(const SpanPart& part) const;

  std::span<const FileSpan> spans_;
  const ReadOptions& options_;
  const std::string& path_;
};

}  // namespace mckpt
