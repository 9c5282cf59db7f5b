#include "mckpt/chunk_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "mckpt/fault_guard.hpp"
#include "mckpt/staging.hpp"
#include "table_builder.hpp"

namespace mckpt {

static_assert(std::endian::native == std::endian::little, "checksums are stored as the machine has them");

ChunkDigest load_entry(bytes_view table, std::uint64_t index) noexcept {
  ChunkDigest entry;
  const std::byte* at = table.data() + index * kChunkEntryBytes;
  std::memcpy(entry.sha256.data(), at, sizeof entry.sha256);
  std::memcpy(&entry.crc32c, at + sizeof entry.sha256, sizeof entry.crc32c);
  return entry;
}

void store_entry(std::span<std::byte> table, std::uint64_t index, const ChunkDigest& entry) noexcept {
  std::byte* at = table.data() + index * kChunkEntryBytes;
  std::memcpy(at, entry.sha256.data(), sizeof entry.sha256);
  std::memcpy(at + sizeof entry.sha256, &entry.crc32c, sizeof entry.crc32c);
}

const std::byte* store_batch(ChunkBatch& batch, std::uint64_t end_index, std::span<std::byte> table) {
  const std::byte* const lost = lost_address([&] {
    const auto digests = batch.digests();
    const auto chunks = batch.chunks();
    const std::uint64_t first = end_index - chunks.size();
    for (std::size_t i = 0; i < chunks.size(); ++i) store_entry(table, first + i, {digests[i], crc32c(chunks[i])});
  });
  batch.clear();
  return lost;
}

std::vector<std::byte> digest_chunks(std::span<const bytes_view> segments, const WorkOptions& options) {
  const SegmentIndex index(segments);
  std::vector<std::byte> table(index.chunks() * kChunkEntryBytes);
  const std::uint64_t blocks = (index.bytes() + kBlockBytes - 1) / kBlockBytes;
  parallel_blocks(blocks, WorkKind::kCompute, options, [&](std::size_t block) {
    const std::uint64_t begin = block * kBlockBytes;
    build_table(
        index, {begin, std::min<std::uint64_t>(begin + kBlockBytes, index.bytes())}, table, [](auto) {},
        [&](const std::byte* address) { index.throw_lost(address); });
  });
  return table;
}

}  // namespace mckpt
