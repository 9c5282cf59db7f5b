// A file that is read block by block, each the quicker way.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "block_plan.hpp"
#include "io/cold_read_trial.hpp"
#include "mckpt/file.hpp"
#include "mckpt/parallel.hpp"
#include "mckpt/reader.hpp"
#include "range.hpp"

namespace mckpt {

// Refers to its arguments. Workers share it.
class FileSource {
 public:
  // `spans`: what is going to be read. kIo where O_DIRECT is demanded and refused, kTruncated where the file ends
  // before a span does.
  FileSource(const FileRef& file, std::span<const FileSpan> spans, IoMode io);

  // What reading spends its time on.
  [[nodiscard]] WorkKind work_kind() const noexcept { return direct_ ? WorkKind::kDevice : WorkKind::kCompute; }

  // Calls read(is_direct), which reads a block: with O_DIRECT where that can be had, the page cache lacks the block and
  // the other way has not turned out quicker, which is why it is timed.
  template <class Read>
  void read_block(const ReadBlock& block, Read read) {
    if (is_cached(block)) return read(false);
    const bool is_direct = begin_cold(block);
    const auto start = std::chrono::steady_clock::now();
    read(is_direct);
    trial_.record(is_direct, block.end - block.offset, std::chrono::steady_clock::now() - start);
  }

  // Reads a range and the rest of its first and last sectors to the beginning of `staging`, which is page-aligned and
  // kStagingSlackBytes longer than the range. Returns where the range begins, or null where the file system refuses.
  // kTruncated where the file ends before the range does.
  [[nodiscard]] std::byte* read_direct(const Range& range, std::span<std::byte> staging);

  // Reads a range through the page cache. kTruncated as above.
  void read_buffered(const Range& range, std::byte* into);

  // What was read so far.
  [[nodiscard]] ReadResult result() const noexcept { return {direct_bytes_.load(), buffered_bytes_.load()}; }

 private:
  [[nodiscard]] bool is_cached(const ReadBlock& block) const noexcept;
  // Whether to read a block directly; tells the kernel to begin if it is to be read through the cache.
  [[nodiscard]] bool begin_cold(const ReadBlock& block) noexcept;

  const FileRef& file_;
  const IoMode io_;
  ColdReadTrial trial_;
  std::optional<DirectFile> direct_;
  std::optional<PageCacheProbe> cache_;
  std::atomic<std::uint64_t> direct_bytes_{0};
  std::atomic<std::uint64_t> buffered_bytes_{0};
};

}  // namespace mckpt
