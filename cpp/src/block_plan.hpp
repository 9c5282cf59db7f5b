// Cuts spans of a file into blocks that one worker reads at once.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mckpt/reader.hpp"
#include "mckpt/staging.hpp"
#include "range.hpp"

namespace mckpt {

// A part of a span, at most a block long. It begins a whole number of chunks after the span does.
struct SpanPart {
  std::size_t span;
  std::uint64_t begin;  // position in the span
  std::uint64_t length;
};

// Parts that lie close together in the file, in order: together, with the gaps between them, at most a block long.
struct ReadBlock {
  std::uint64_t offset;  // in the file
  std::uint64_t end;
  std::size_t first_part;
  std::size_t end_part;
};

struct BlockPlan {
  std::vector<SpanPart> parts;
  std::vector<ReadBlock> blocks;

  [[nodiscard]] std::span<const SpanPart> parts_of(const ReadBlock& block) const {
    return std::span(parts).subspan(block.first_part, block.end_part - block.first_part);
  }
};

// Spans may come in any order, overlap, and be empty. `block_bytes` is a whole number of chunks. kArgument for a span
// that ends beyond the largest file offset.
[[nodiscard]] BlockPlan plan_blocks(std::span<const FileSpan> spans, std::uint64_t block_bytes = kBlockBytes);

// Where a part begins in the file.
[[nodiscard]] inline std::uint64_t offset_of(std::span<const FileSpan> spans, const SpanPart& part) {
  return spans[part.span].offset + part.begin;
}

// The bytes of the file from the first of the parts to the end of the last, gaps included.
[[nodiscard]] inline Range range_of(std::span<const FileSpan> spans, std::span<const SpanPart> parts) {
  return {offset_of(spans, parts.front()), offset_of(spans, parts.back()) + parts.back().length};
}

// Cuts parts into chunks and calls visit(std::span<const SpanPart>) for batches of them: about one full chunk's worth
// of bytes, so that all lanes of the widest hash kernel have work and the core's cache holds the batch.
inline constexpr std::size_t kBatchParts = 256;

template <class Visit>
void for_each_batch(std::span<const SpanPart> parts, Visit visit) {
  std::array<SpanPart, kBatchParts> batch;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled before it is read
  std::size_t count = 0;
  std::uint64_t bytes = 0;
  for (const SpanPart& part : parts)
    for (std::uint64_t at = 0; at < part.length; at += kChunkBytes) {
      const std::uint64_t length = std::min<std::uint64_t>(kChunkBytes, part.length - at);
      if (count == kBatchParts || (count != 0 && bytes + length > kChunkBytes)) {
        visit(std::span<const SpanPart>(batch.data(), count));
        count = bytes = 0;
      }
      batch[count++] = {part.span, part.begin + at, length};
      bytes += length;
    }
  if (count != 0) visit(std::span<const SpanPart>(batch.data(), count));
}

}  // namespace mckpt
