// The chunk table: for each chunk 32 bytes of digest and 4 bytes of checksum (docs/format.md, section 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mckpt/digest.hpp"
#include "mckpt/parallel.hpp"

namespace mckpt {

// Table of `segments` in memory, each beginning with a new chunk.
[[nodiscard]] std::vector<std::byte> digest_chunks(std::span<const bytes_view> segments,
                                                   const WorkOptions& options = {});

// Entry `index` of a table. Precondition: it exists.
[[nodiscard]] ChunkDigest load_entry(bytes_view table, std::uint64_t index) noexcept;
void store_entry(std::span<std::byte> table, std::uint64_t index, const ChunkDigest& entry) noexcept;

}  // namespace mckpt
