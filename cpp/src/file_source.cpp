#include "file_source.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "mckpt/error.hpp"

namespace mckpt {
namespace {

std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }
std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return round_down(value + unit - 1, unit); }

std::uint64_t total_bytes(std::span<const FileSpan> spans) {
  const auto add = [](std::uint64_t total, const FileSpan& span) { return total + span.length; };
  return std::accumulate(spans.begin(), spans.end(), std::uint64_t{0}, add);
}

// Whether the file ends before a span does. What ends beyond the largest offset is for plan_blocks to refuse.
bool is_cut_off(const FileSpan& span, std::uint64_t size) {
  constexpr auto kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const bool is_range = span.offset <= kMaxOffset && span.length <= kMaxOffset - span.offset;
  return is_range && span.length != 0 && span.offset + span.length > size;
}

// Found out before blocks are planned: the plan of a span takes memory in proportion to its length, which may be a lie.
void require_in_file(const FileRef& file, std::span<const FileSpan> spans, std::uint64_t size) {
  const FileSpan* first = nullptr;
  for (const FileSpan& span : spans)
    if (is_cut_off(span, size) && (first == nullptr || span.offset < first->offset)) first = &span;
  if (first == nullptr) return;
  throw Error(ErrorCode::kTruncated, "the file ends early",
              {.path = file.path,
               .tensor = std::string(first->tensor),
               .offset = static_cast<std::int64_t>(std::max(first->offset, size))});
}

std::optional<DirectFile> open_direct(const FileRef& file, IoMode io) {
  if (io == IoMode::kBuffered) return std::nullopt;
  auto direct = DirectFile::open(file, DirectFile::Access::kRead);
  if (!direct && io == IoMode::kDirect) throw_direct_refused(file);
  return direct;
}

}  // namespace

FileSource::FileSource(const FileRef& file, std::span<const FileSpan> spans, IoMode io)
    : file_(file),
      io_(io),
      trial_(io == IoMode::kAuto && !is_on_local_disk(file) ? total_bytes(spans) : 0),
      direct_(open_direct(file, io)) {
  const std::uint64_t size = file_size(file);
  require_in_file(file, spans, size);
  if (direct_ && io == IoMode::kAuto) cache_.emplace(file, size);
}

bool FileSource::is_cached(const ReadBlock& block) const noexcept {
  return cache_ && cache_->is_cached(block.offset, block.end - block.offset);
}

bool FileSource::begin_cold(const ReadBlock& block) noexcept {
  const bool is_direct = direct_ && trial_.next_is_direct();
  if (!is_direct) advise_read(file_, block.offset, block.end - block.offset);
  return is_direct;
}

std::byte* FileSource::read_direct(const Range& range, std::span<std::byte> staging) {
  if (!direct_) return nullptr;
  const std::uint64_t begin = round_down(range.begin, direct_->offset_alignment());
  const std::uint64_t end = round_up(range.end, direct_->offset_alignment());
  std::size_t done = 0;
  if (!direct_->read(staging.first(end - begin), begin, done)) {
    if (io_ == IoMode::kDirect) throw_direct_refused(file_);
    return nullptr;
  }
  if (begin + done < range.end)
    throw Error(ErrorCode::kTruncated, "the file ends early",
                {.path = file_.path, .offset = static_cast<std::int64_t>(begin + done)});
  direct_bytes_ += range.end - range.begin;
  return staging.data() + (range.begin - begin);
}

void FileSource::read_buffered(const Range& range, std::byte* into) {
  read_all(file_, {into, range.end - range.begin}, range.begin);
  buffered_bytes_ += range.end - range.begin;
}

}  // namespace mckpt
