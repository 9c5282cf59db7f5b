#include "mckpt/reader.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block_plan.hpp"
#include "io/cold_read_trial.hpp"
#include "io/prefaulter.hpp"
#include "locate.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/error.hpp"
#include "mckpt/staging.hpp"
#include "range.hpp"
#include "verifier.hpp"

namespace mckpt {
namespace {

std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }
std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return round_down(value + unit - 1, unit); }

std::uint64_t total_bytes(std::span<const FileSpan> spans) {
  const auto add = [](std::uint64_t total, const FileSpan& span) { return total + span.length; };
  return std::accumulate(spans.begin(), spans.end(), std::uint64_t{0}, add);
}

std::vector<std::span<std::byte>> destinations(std::span<const FileSpan> spans) {
  std::vector<std::span<std::byte>> found;
  found.reserve(spans.size());
  for (const FileSpan& span : spans)
    if (span.dest != nullptr) found.emplace_back(span.dest, span.length);
  return found;
}

// Tensor of a block that holds a file offset, or the next one.
std::string name_at(std::span<const FileSpan> spans, std::span<const SpanPart> parts, std::int64_t offset) {
  const auto end_of = [&](const SpanPart& part) { return spans[part.span].offset + part.begin + part.length; };
  for (const SpanPart& part : parts)
    if (std::cmp_less(offset, end_of(part))) return std::string(spans[part.span].tensor);
  return std::string(spans[parts.back().span].tensor);
}

// A staging buffer that is taken when it is first needed.
class LazyStaging {
 public:
  [[nodiscard]] std::span<std::byte> bytes() { return (buffer_ ? *buffer_ : buffer_.emplace()).bytes(); }

 private:
  std::optional<StagingBuffer> buffer_;
};

// One call of read_spans, shared by its workers.
class Reader {
 public:
  Reader(const FileRef& file, std::span<const FileSpan> spans, const ReadOptions& options)
      : file_(file),
        spans_(spans),
        options_(options),
        verifier_(spans, options, file.path),
        plan_(plan_blocks(spans)),
        prefaulter_(destinations(spans)),
        trial_(options.io == IoMode::kAuto && !is_on_local_disk(file) ? total_bytes(spans) : 0),
        direct_(open_direct(file, options.io)) {
    if (direct_ && options.io == IoMode::kAuto) cache_.emplace(file, file_size(file));
  }

  ReadResult run() {
    parallel_blocks(plan_.blocks.size(), direct_ ? WorkKind::kDevice : WorkKind::kCompute, options_.work,
                    [this](std::size_t i) { read_block(plan_.blocks[i]); });
    return {direct_bytes_.load(), buffered_bytes_.load()};
  }

 private:
  static std::optional<DirectFile> open_direct(const FileRef& file, IoMode io) {
    if (io == IoMode::kBuffered) return std::nullopt;
    auto direct = DirectFile::open(file, DirectFile::Access::kRead);
    if (!direct && io == IoMode::kDirect) throw_direct_refused(file);
    return direct;
  }

  void read_block(const ReadBlock& block) {
    with_tensor_name([&] { is_cached(block) ? read_batches(block, false) : read_cold(block); },
                     [&](std::int64_t offset) { return name_at(spans_, plan_.parts_of(block), offset); });
  }

  [[nodiscard]] bool is_cached(const ReadBlock& block) const {
    return cache_ && cache_->is_cached(block.offset, block.end - block.offset);
  }

  void read_cold(const ReadBlock& block) {
    const bool is_direct = direct_ && trial_.next_is_direct();
    if (!is_direct) advise_read(file_, block.offset, block.end - block.offset);
    const auto start = std::chrono::steady_clock::now();
    read_batches(block, is_direct);
    trial_.record(is_direct, block.end - block.offset, std::chrono::steady_clock::now() - start);
  }

  // Batch by batch, so that the bytes are hashed while the core's cache has them.
  void read_batches(const ReadBlock& block, bool is_direct) {
    LazyStaging staging;
    for_each_batch(plan_.parts_of(block), [&](std::span<const SpanPart> parts) {
      for (const SpanPart& part : parts)
        if (dest_of(part) != nullptr) prefaulter_.prepare({dest_of(part), part.length});
      is_direct = is_direct && read_directly(*direct_, parts, staging.bytes());
      if (!is_direct) read_buffered(parts, staging);
    });
  }

  // Returns false where the file system refuses.
  bool read_directly(const DirectFile& direct, std::span<const SpanPart> parts, std::span<std::byte> staging) {
    const Range range = range_of(parts);
    const std::uint64_t begin = round_down(range.begin, direct.offset_alignment());
    const std::uint64_t end = round_up(range.end, direct.offset_alignment());
    std::size_t done = 0;
    if (!direct.read(staging.first(end - begin), begin, done)) {
      if (options_.io == IoMode::kDirect) throw_direct_refused(file_);
      return false;
    }
    if (begin + done < range.end) throw_truncated(begin + done);
    direct_bytes_ += deliver(parts, staging.data() + (range.begin - begin));
    return true;
  }

  // A large tensor's bytes go into its own memory, many small ones' (or those that are only checked) into staging.
  void read_buffered(std::span<const SpanPart> parts, LazyStaging& staging) {
    std::byte* into = parts.size() == 1 ? dest_of(parts.front()) : nullptr;
    if (into == nullptr) into = staging.bytes().data();
    const Range range = range_of(parts);
    read_all(file_, {into, range.end - range.begin}, range.begin);
    buffered_bytes_ += deliver(parts, into);
  }

  // Verifies a batch whose bytes begin at `source`, copies them to their destinations, and returns their number.
  std::uint64_t deliver(std::span<const SpanPart> parts, const std::byte* source) const {
    std::array<bytes_view, kBatchParts> bytes;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      bytes[i] = {source + (offset_of(parts[i]) - offset_of(parts.front())), parts[i].length};
      total += parts[i].length;
    }
    verifier_.check(parts, std::span(bytes).first(parts.size()));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::byte* const dest = dest_of(parts[i]);
      if (dest != nullptr && dest != bytes[i].data()) stream_copy(dest, bytes[i]);
    }
    return total;
  }

  [[nodiscard]] Range range_of(std::span<const SpanPart> parts) const {
    return {offset_of(parts.front()), offset_of(parts.back()) + parts.back().length};
  }

  [[nodiscard]] std::uint64_t offset_of(const SpanPart& part) const { return spans_[part.span].offset + part.begin; }

  [[nodiscard]] std::byte* dest_of(const SpanPart& part) const {
    std::byte* const dest = spans_[part.span].dest;
    return dest == nullptr ? nullptr : dest + part.begin;
  }

  [[noreturn]] void throw_truncated(std::uint64_t end) const {
    throw Error(ErrorCode::kTruncated, "the file ends early",
                {.path = file_.path, .offset = static_cast<std::int64_t>(end)});
  }

  const FileRef& file_;
  std::span<const FileSpan> spans_;
  const ReadOptions& options_;
  Verifier verifier_;
  BlockPlan plan_;
  Prefaulter prefaulter_;
  ColdReadTrial trial_;
  std::optional<DirectFile> direct_;
  std::optional<PageCacheProbe> cache_;
  std::atomic<std::uint64_t> direct_bytes_{0};
  std::atomic<std::uint64_t> buffered_bytes_{0};
};

}  // namespace

ReadResult read_spans(const FileRef& file, std::span<const FileSpan> spans, const ReadOptions& options) {
  return Reader(file, spans, options).run();
}

void verify_mapping(const MappedFile& mapping, const std::string& path, std::span<const FileSpan> spans,
                    const ReadOptions& options) {
  const Verifier verifier(spans, options, path);
  const BlockPlan plan = plan_blocks(spans);
  const bytes_view file = mapping.bytes();
  if (std::ranges::any_of(plan.blocks, [&](const ReadBlock& block) { return block.end > file.size(); }))
    throw Error(ErrorCode::kArgument, "a span lies outside of the mapping", {.path = path});
  parallel_blocks(plan.blocks.size(), WorkKind::kCompute, options.work, [&](std::size_t i) {
    const ReadBlock& block = plan.blocks[i];
    mapping.populate(block.offset, block.end - block.offset, path);
    for_each_batch(plan.parts_of(block), [&](std::span<const SpanPart> parts) {
      std::array<bytes_view, kBatchParts> bytes;
      for (std::size_t k = 0; k < parts.size(); ++k)
        bytes[k] = file.subspan(spans[parts[k].span].offset + parts[k].begin, parts[k].length);
      verifier.check(parts, std::span(bytes).first(parts.size()));
    });
  });
}

}  // namespace mckpt
