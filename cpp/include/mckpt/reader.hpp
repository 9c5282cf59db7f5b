// Reads parts of a file and verifies them in the same pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mckpt/digest.hpp"
#include "mckpt/file.hpp"
#include "mckpt/parallel.hpp"
#include "mckpt/stage_times.hpp"

namespace mckpt {

// A part of a tensor in a file. If it is to be checked it begins at a chunk boundary of its tensor, and ends at one or
// at the tensor's end.
struct FileSpan {
  std::uint64_t offset = 0;  // in the file, in bytes
  std::uint64_t length = 0;
  std::byte* dest = nullptr;      // `length` bytes, or null: only check
  std::uint64_t first_chunk = 0;  // index in the table of the span's first chunk
  std::string_view tensor;        // for messages
};

enum class Check {
  kSha256,  // by chunk digest
  kCrc32c,  // by chunk checksum: finds accidents, not forgery
  kNone,
};

struct ReadOptions {
  bytes_view table = {};  // chunk table; not needed for kNone
  Check check = Check::kSha256;
  IoMode io = IoMode::kAuto;
  WorkOptions work = {};
};

struct ReadResult {
  std::uint64_t direct_bytes = 0;    // by O_DIRECT
  std::uint64_t buffered_bytes = 0;  // through the page cache
  StageTimes times;
};

// Reads spans into their destinations. kTruncated where the file ends early, kCorrupt, with the file offset of the
// chunk, where a digest differs, kArgument where the table lacks a chunk. After an exception the destinations' contents
// are undefined. Destinations must not overlap; spans may come in any order.
ReadResult read_spans(const FileRef& file, std::span<const FileSpan> spans, const ReadOptions& options);

// Checks spans of a mapping in place; `dest` and `io` are ignored. Errors as read_spans: kTruncated also where the file
// shrinks meanwhile.
StageTimes verify_mapping(const MappedFile& mapping, const std::string& path, std::span<const FileSpan> spans,
                          const ReadOptions& options);

}  // namespace mckpt
