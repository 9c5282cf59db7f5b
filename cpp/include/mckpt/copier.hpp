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
// fit, before anything is copied.
void copy_buffers(std::span<std::byte> dest, std::span<const std::uint64_t> offsets,
                  std::span<const bytes_view> sources, const WorkOptions& options = {});

}  // namespace mckpt
