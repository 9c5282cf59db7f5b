#include "segment_index.hpp"

#include <string>

#include "mckpt/error.hpp"

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

std::size_t SegmentIndex::holder_of(const std::byte* address) const noexcept {
  const auto holds = [&](bytes_view segment) {
    return address >= segment.data() && address < segment.data() + segment.size();
  };
  return static_cast<std::size_t>(std::ranges::find_if(segments_, holds) - segments_.begin());
}

void SegmentIndex::throw_lost(const std::byte* address) const {
  const std::size_t segment = holder_of(address);
  const std::string who = segment < segments_.size() ? "source " + std::to_string(segment) : "the destination";
  throw Error(ErrorCode::kTruncated, who + " is mapped from a file that has shrunk");
}

}  // namespace mckpt
