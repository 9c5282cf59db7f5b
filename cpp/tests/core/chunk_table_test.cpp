#include "mckpt/chunk_table.hpp"

#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::random_bytes;

// One chunk at a time, as docs/format.md defines the table.
Bytes table_by_definition(std::span<const bytes_view> segments) {
  Bytes table;
  for (bytes_view rest : segments)
    for (; !rest.empty(); rest = rest.subspan(std::min(kChunkBytes, rest.size()))) {
      const bytes_view chunk = rest.first(std::min(kChunkBytes, rest.size()));
      digest256 digest;
      chunk_digests({&chunk, 1}, {&digest, 1});
      table.insert(table.end(), digest.begin(), digest.end());
      const std::uint32_t checksum = crc32c(chunk);
      for (unsigned shift = 0; shift < 32; shift += 8) table.push_back(static_cast<std::byte>(checksum >> shift));
    }
  return table;
}

TEST(DigestChunks, MakesTheTableOfTheFormat) {
  std::vector<Bytes> tensors;
  for (const std::size_t size :
       {0UL, 1UL, 65'536UL, 65'537UL, kChunkBytes, kChunkBytes + 1, 9 * kChunkBytes + 12'345, 3UL})
    tensors.push_back(random_bytes(size, size));
  for (std::size_t i = 0; i < 700; ++i) tensors.push_back(random_bytes(i, i));
  const std::vector<bytes_view> segments(tensors.begin(), tensors.end());
  EXPECT_EQ(digest_chunks(segments), table_by_definition(segments));
  EXPECT_EQ(digest_chunks(segments, {.threads = 1}), table_by_definition(segments));
}

TEST(DigestChunks, OfNothingIsEmpty) {
  EXPECT_TRUE(digest_chunks({}).empty());
  const bytes_view empty;
  EXPECT_TRUE(digest_chunks({&empty, 1}).empty());
}

TEST(TableEntry, ComesBackAsItWasStored) {
  Bytes table(3 * kChunkEntryBytes);
  ChunkDigest entry{.crc32c = 0x01020304};
  entry.sha256[31] = std::byte{9};
  store_entry(table, 1, entry);
  EXPECT_EQ(load_entry(table, 1).sha256, entry.sha256);
  EXPECT_EQ(load_entry(table, 1).crc32c, entry.crc32c);
  EXPECT_EQ(table[kChunkEntryBytes + 32], std::byte{4}) << "little-endian";
  EXPECT_EQ(load_entry(table, 2).crc32c, 0U);
}

}  // namespace
}  // namespace mckpt
