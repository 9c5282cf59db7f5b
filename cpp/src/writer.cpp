#include "mckpt/writer.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

#include "locate.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/fault_guard.hpp"
#include "mckpt/staging.hpp"
#include "segment_index.hpp"
#include "stage_clock.hpp"
#include "table_builder.hpp"

namespace mckpt {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr auto kLost = "the tensor is mapped from a file that has shrunk";

// One call of write_segments, shared by its workers. Positions count from the data offset.
class Writer {
 public:
  Writer(const FileRef& file, std::span<const Segment> segments, std::uint64_t data_offset, IoMode io)
      : file_(file),
        segments_(segments),
        bytes_(bytes_of(segments)),
        index_(bytes_),
        data_offset_(data_offset),
        io_(io),
        direct_(open_direct(file, data_offset, io)),
        table_(index_.chunks() * kChunkEntryBytes) {}

  WriteResult run(const WorkOptions& work) {
    constexpr auto kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (data_offset_ > kMaxOffset || index_.bytes() > kMaxOffset - data_offset_)
      throw Error(ErrorCode::kArgument, "the file would end beyond the largest offset", {.path = file_.path});
    allocate();
    const std::uint64_t blocks = (index_.bytes() + kBlockBytes - 1) / kBlockBytes;
    parallel_blocks(blocks, direct_ ? WorkKind::kDevice : WorkKind::kCompute, work, [this](std::size_t block) {
      const std::uint64_t begin = block * kBlockBytes;
      write_block({begin, std::min<std::uint64_t>(begin + kBlockBytes, index_.bytes())});
    });
    return {std::move(table_), used_direct_.load(), index_.bytes(), totals_.times()};
  }

 private:
  void allocate() {
    StageLap lap(totals_);
    preallocate(file_, data_offset_ + index_.bytes());
    lap.charge(Stage::kWrite);
  }

  static std::vector<bytes_view> bytes_of(std::span<const Segment> segments) {
    std::vector<bytes_view> bytes;
    bytes.reserve(segments.size());
    for (const Segment& segment : segments) bytes.push_back(segment.bytes);
    return bytes;
  }

  static std::optional<DirectFile> open_direct(const FileRef& file, std::uint64_t data_offset, IoMode io) {
    if (io == IoMode::kDirect && data_offset % kPageBytes != 0)
      throw Error(ErrorCode::kArgument, "direct I/O needs a data offset on a page boundary", {.path = file.path});
    if (io == IoMode::kBuffered || data_offset % kPageBytes != 0) return std::nullopt;
    auto direct = DirectFile::open(file, DirectFile::Access::kWrite);
    if (!direct && io == IoMode::kDirect) throw_direct_refused(file);
    return direct;
  }

  void write_block(Range range) {
    StageLap lap(totals_);
    with_tensor_name(
        [&] {
          const bytes_view in_place = contiguous(range);
          if (is_writable_from(in_place)) {
            build_table(index_, range, table_, [](auto) {}, [this](auto address) { throw_lost(address); });
            lap.charge(Stage::kHash);
            write_in_place(in_place, range.begin);
          } else {
            write_staged(range, lap);
          }
          lap.charge(Stage::kWrite);
        },
        [&](std::int64_t offset) { return name_at(offset, range); });
  }

  // To the kernel, memory that is lost is a bad address.
  void write_in_place(bytes_view bytes, std::uint64_t position) {
    try {
      write(bytes, position);
    } catch (const Error& error) {
      if (error.context().system_errno != EFAULT) throw;
      throw Error(ErrorCode::kTruncated, kLost, {.offset = error.context().offset});
    }
  }

  // Each batch is copied while the core's cache has it.
  void write_staged(Range range, StageLap& lap) {
    const StagingBuffer staging;
    lap.charge(Stage::kWait);
    std::byte* const begin = staging.bytes().data();
    std::uint64_t copied = range.begin;
    const auto copy_to = [&](std::uint64_t position) {
      lap.charge(Stage::kHash);
      const std::uint64_t end = std::min(position, range.end);
      if (end <= copied) return;
      const std::byte* const lost = lost_address([&] {
        index_.for_each_piece(
            {copied, end}, [&](const Piece& piece) { stream_copy(begin + (piece.begin - range.begin), piece.bytes); });
      });
      if (lost != nullptr) throw_lost(lost);
      copied = end;
      lap.charge(Stage::kCopy);
    };
    build_table(index_, range, table_, copy_to, [this](auto address) { throw_lost(address); });
    copy_to(range.end);
    write({begin, range.end - range.begin}, range.begin);
  }

  // The range's bytes if they are one piece of memory, else nothing.
  [[nodiscard]] bytes_view contiguous(Range range) const {
    bytes_view all;
    bool is_one = true;
    index_.for_each_piece(range, [&](const Piece& piece) {
      if (all.empty())
        all = piece.bytes;
      else if (all.data() + all.size() == piece.bytes.data())
        all = {all.data(), all.size() + piece.bytes.size()};
      else
        is_one = false;
    });
    return is_one ? all : bytes_view{};
  }

  [[nodiscard]] bool is_writable_from(bytes_view bytes) const {
    return !bytes.empty() &&
           (!direct_ || reinterpret_cast<std::uintptr_t>(bytes.data()) % direct_->memory_alignment() == 0);
  }

  // Whole pages go directly, what is left at the end of the file through the page cache: they share no page.
  void write(bytes_view bytes, std::uint64_t position) {
    const std::uint64_t offset = data_offset_ + position;
    const std::size_t written = direct_ ? write_pages(*direct_, bytes, offset) : 0;
    write_all(file_, bytes.subspan(written), offset + written);
  }

  // Returns the number of bytes written: none where the file system refuses.
  std::size_t write_pages(const DirectFile& direct, bytes_view bytes, std::uint64_t offset) {
    const bytes_view pages = bytes.first(bytes.size() / kPageBytes * kPageBytes);
    if (pages.empty()) return 0;
    if (!direct.write(pages, offset)) {
      if (io_ == IoMode::kDirect) throw_direct_refused(file_);
      return 0;
    }
    used_direct_.store(true);
    return pages.size();
  }

  [[noreturn]] void throw_lost(const std::byte* address) const {
    const std::size_t segment = std::min(index_.holder_of(address), segments_.size() - 1);
    throw Error(ErrorCode::kTruncated, kLost, {.tensor = std::string(segments_[segment].tensor)});
  }

  [[nodiscard]] std::string name_at(std::int64_t offset, Range range) const {
    const std::uint64_t position = offset < 0 ? range.begin : static_cast<std::uint64_t>(offset) - data_offset_;
    return std::string(segments_[index_.find(std::clamp(position, range.begin, range.end - 1))].tensor);
  }

  const FileRef& file_;
  std::span<const Segment> segments_;
  std::vector<bytes_view> bytes_;
  SegmentIndex index_;
  std::uint64_t data_offset_;
  IoMode io_;
  std::optional<DirectFile> direct_;
  std::vector<std::byte> table_;
  std::atomic<bool> used_direct_{false};
  StageTotals totals_;
};

}  // namespace

WriteResult write_segments(const FileRef& file, std::span<const Segment> segments, std::uint64_t data_offset,
                           const WriteOptions& options) {
  return Writer(file, segments, data_offset, options.io).run(options.work);
}

}  // namespace mckpt
