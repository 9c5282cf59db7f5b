// Writes the data area of a file and hashes it in the same pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "mckpt/digest.hpp"
#include "mckpt/file.hpp"
#include "mckpt/parallel.hpp"
#include "mckpt/stage_times.hpp"

namespace mckpt {

// Bytes of one tensor, not owned, unchanged while a call reads them. `tensor` is for messages.
struct Segment {
  bytes_view bytes;
  std::string_view tensor;
};

struct WriteOptions {
  IoMode io = IoMode::kAuto;
  WorkOptions work = {};
};

struct WriteResult {
  std::vector<std::byte> table;  // the chunk table, in the order of the segments
  bool direct = false;           // whether O_DIRECT was used
  std::uint64_t bytes = 0;       // data bytes written
  StageTimes times;
};

// Writes the segments back to back from `data_offset` on. Allocates the whole file first; does not sync. The bytes
// before `data_offset` are left to the caller, before or after.
//
// Direct I/O wants a `data_offset` on a page boundary; kAuto goes through the page cache for any other, kDirect raises
// kArgument. Bytes that are aligned and contiguous in memory over a whole block are written from there, all others are
// staged. kArgument, with the file untouched, if it would end beyond the largest offset; after any other exception its
// contents are undefined.
[[nodiscard]] WriteResult write_segments(const FileRef& file, std::span<const Segment> segments,
                                         std::uint64_t data_offset, const WriteOptions& options = {});

}  // namespace mckpt
