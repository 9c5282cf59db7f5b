// Fills a chunk table.
#pragma once

#include <cstdint>
#include <span>

#include "chunk_batch.hpp"
#include "segment_index.hpp"

namespace mckpt {

// Hashes a batch into the table's entries before `end_index`, and empties it. Returns null, or the address of a byte
// that is lost.
[[nodiscard]] const std::byte* store_batch(ChunkBatch& batch, std::uint64_t end_index, std::span<std::byte> table);

// Hashes the chunks that begin in `range` and stores their entries in `table`. After each batch calls done(position):
// the bytes of the run before `position` that lie in the range have just been read, so they are in the core's cache.
// Where the segments are mappings and a file has lost the bytes, calls lost(address), which throws.
template <class Done, class Lost>
void build_table(const SegmentIndex& index, Range range, std::span<std::byte> table, Done done, Lost lost) {
  ChunkBatch batch;
  std::uint64_t end_index = 0;
  std::uint64_t position = range.begin;
  const auto flush = [&] {
    if (const std::byte* address = store_batch(batch, end_index, table)) lost(address);
    done(position);
  };
  index.for_each_chunk(range, [&](const Chunk& chunk) {
    batch.add(chunk.bytes);
    end_index = chunk.index + 1;
    position = chunk.begin + chunk.bytes.size();
    if (batch.is_full()) flush();
  });
  flush();
}

}  // namespace mckpt
