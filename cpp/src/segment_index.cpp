#include "segment_index.hpp"

namespace mckpt {

SegmentIndex::SegmentIndex(std::span<const bytes_view> segments) : segments_(segments), starts_{0}, first_chunks_{0} {
  starts_.reserve(segments.size() + 1);
  first_chunks_.reserve(segments.size() + 1);
  for (const bytes_view segment : segments) {
    starts_.push_back(starts_.back() + segment.size());
    first_chunks_.push_back(first_chunks_.back() + chunk_count(segment.size()));
  }
}

std::size_t SegmentIndex::find(std::uint64_t position) const noexcept {
  const auto after = std::ranges::upper_bound(starts_, position);
  return static_cast<std::size_t>(after - starts_.begin()) - 1;
}

}  // namespace mckpt
