// Copies memory at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mckpt/digest.hpp"
#include "mckpt/parallel.hpp"

namespace mckpt {

// Copies `source` to `dest` past the cache where it is long: for bytes that are not read again soon. Precondition: the
// ranges do not overlap.
void stream_copy(std::byte* dest, bytes_view source) noexcept;

// Copies sources[i] to dest[offsets[i]:], in parallel. kArgument if the sequences differ in length or a source does not
// fit, before anything is copied. kTruncated where memory is mapped from a file that has lost the bytes; what was to be
// written is then undefined.
void copy_buffers(std::span<std::byte> dest, std::span<const std::uint64_t> offsets,
                  std::span<const bytes_view> sources, const WorkOptions& options = {});

// Copies sources[i] to dests[i], which has its size and overlaps no other, in parallel. Errors as copy_buffers.
void copy_each(std::span<const std::span<std::byte>> dests, std::span<const bytes_view> sources,
               const WorkOptions& options = {});

}  // namespace mckpt
