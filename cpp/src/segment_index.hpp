// Segments as one run of bytes, cut into blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mckpt/digest.hpp"
#include "range.hpp"

namespace mckpt {

// The part of a segment that lies in a range.
struct Piece {
  std::size_t segment;
  std::uint64_t begin;  // position in the run of the part's first byte
  bytes_view bytes;
};

// A chunk of a segment.
struct Chunk {
  std::size_t segment;
  std::uint64_t index;  // in the table of all segments
  std::uint64_t begin;  // position in the run
  bytes_view bytes;
};

// Finds what lies where. Refers to the segments' bytes; immutable, so that workers share it.
class SegmentIndex {
 public:
  explicit SegmentIndex(std::span<const bytes_view> segments);

  [[nodiscard]] std::uint64_t bytes() const noexcept { return starts_.back(); }
  [[nodiscard]] std::uint64_t chunks() const noexcept { return first_chunks_.back(); }

  // Segment that holds a position. Precondition: position < bytes().
  [[nodiscard]] std::size_t find(std::uint64_t position) const noexcept;

  // Segment that holds an address; the number of segments if none does.
  [[nodiscard]] std::size_t holder_of(const std::byte* address) const noexcept;

  // kTruncated, for memory that lost_address has found to be gone.
  [[noreturn]] void throw_lost(const std::byte* address) const;

  // Calls visit(Piece) for all pieces in a range, in order.
  template <class Visit>
  void for_each_piece(Range range, Visit visit) const {
    if (range.begin >= range.end) return;
    for (std::size_t i = find(range.begin); i < segments_.size() && starts_[i] < range.end; ++i) {
      const std::uint64_t begin = std::max(range.begin, starts_[i]);
      const std::uint64_t end = std::min(range.end, starts_[i + 1]);
      if (begin < end) visit(Piece{i, begin, segments_[i].subspan(begin - starts_[i], end - begin)});
    }
  }

  // Calls visit(Chunk) for all chunks that begin in a range, in order.
  template <class Visit>
  void for_each_chunk(Range range, Visit visit) const {
    for_each_piece(range, [&](const Piece& piece) {
      const bytes_view segment = segments_[piece.segment];
      const std::uint64_t from = piece.begin - starts_[piece.segment];
      for (std::uint64_t at = chunk_count(from) * kChunkBytes; at < from + piece.bytes.size(); at += kChunkBytes)
        visit(Chunk{piece.segment, first_chunks_[piece.segment] + at / kChunkBytes, starts_[piece.segment] + at,
                    segment.subspan(at, std::min<std::uint64_t>(kChunkBytes, segment.size() - at))});
    });
  }

 private:
  std::span<const bytes_view> segments_;
  std::vector<std::uint64_t> starts_;        // one more than segments: the last is the end
  std::vector<std::uint64_t> first_chunks_;  // likewise
};

}  // namespace mckpt
