#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "chunk.hpp"
#include "support.hpp"

namespace mckpt::digest {
namespace {

void append(Bytes& bytes, bytes_view more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

Bytes domain(std::string_view name) {
  Bytes block;
  append(block, as_view(name));
  block.resize(64);
  return block;
}

// docs/format.md, section 1, word for word.
digest256 chunk_digest_by_definition(bytes_view chunk) {
  Bytes node = domain("mckpt.chunk.1");
  const std::uint64_t length = chunk.size();
  append(node, std::as_bytes(std::span(&length, 1)));
  for (; !chunk.empty(); chunk = chunk.subspan(std::min(kLeafBytes, chunk.size()))) {
    Bytes leaf = domain("mckpt.leaf.1");
    append(leaf, chunk.first(std::min(kLeafBytes, chunk.size())));
    append(node, sha256(leaf));
  }
  return sha256(node);
}

std::vector<digest256> digests_by_definition(std::span<const bytes_view> chunks) {
  std::vector<digest256> result;
  std::ranges::transform(chunks, std::back_inserter(result), chunk_digest_by_definition);
  return result;
}

class ChunkTest : public testing::TestWithParam<Sha256Implementation> {
 protected:
  [[nodiscard]] static std::vector<digest256> hash(std::span<const bytes_view> chunks) {
    std::vector<digest256> result(chunks.size());
    chunk_digests_with(GetParam(), chunks, result);
    return result;
  }
};

INSTANTIATE_TEST_SUITE_P(Every, ChunkTest, testing::ValuesIn(supported_sha256()),
                         [](const auto& each) { return std::string(each.param.name); });

// The worked example of docs/format.md, 2.8, taken with another implementation (Python's hashlib).
TEST_P(ChunkTest, MatchesTheWorkedExample) {
  const bytes_view chunk = as_view("\1\2\3");
  EXPECT_EQ(to_hex(hash(std::span(&chunk, 1)).front()),
            "7bfbe871598b7d5384c808d1aaa27447357b25acfd3c52fb1756e0ca50a39b5d");
}

TEST_P(ChunkTest, FollowsTheDefinitionAroundTheEdgesOfBlocksLeavesAndChunks) {
  const Bytes data = random_bytes(kChunkBytes, 1);
  std::vector<bytes_view> chunks;
  for (const std::size_t edge : {std::size_t{64}, kLeafBytes, 2 * kLeafBytes, 10 * kLeafBytes, kChunkBytes}) {
    for (std::size_t size = edge - 9; size <= std::min(edge + 9, kChunkBytes); ++size) {
      chunks.push_back(bytes_view(data).last(size));
    }
  }
  EXPECT_EQ(hash(chunks), digests_by_definition(chunks));
  for (std::size_t i = 0; i < chunks.size(); i += 7) {
    EXPECT_EQ(hash(std::span(&chunks[i], 1)).front(), chunk_digest_by_definition(chunks[i])) << chunks[i].size();
  }
}

TEST_P(ChunkTest, FollowsTheDefinitionForManyTinyChunks) {
  const Bytes data = random_bytes(4096, 2);
  std::mt19937_64 generator(3);
  for (const std::size_t count : {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 3000}) {
    std::vector<bytes_view> chunks;
    for (std::size_t i = 0; i < count; ++i) {
      chunks.push_back(bytes_view(data).subspan(generator() % 2048, generator() % 300 + 1));
    }
    EXPECT_EQ(hash(chunks), digests_by_definition(chunks)) << count << " chunks";
  }
}

TEST_P(ChunkTest, FollowsTheDefinitionForTinyAndWholeChunksTogether) {
  const Bytes data = random_bytes(2 * kChunkBytes, 4);
  std::mt19937_64 generator(5);
  std::vector<bytes_view> chunks;
  for (std::size_t i = 0; i < 100; ++i) {
    const std::size_t size = i % 25 == 0 ? kChunkBytes : generator() % (i % 5 == 0 ? 200'000 : 500) + 1;
    chunks.push_back(bytes_view(data).subspan(generator() % kChunkBytes, size));
  }
  EXPECT_EQ(hash(chunks), digests_by_definition(chunks));
}

TEST_P(ChunkTest, DependsOnTheOrderOfTheLeaves) {
  Bytes data = random_bytes(2 * kLeafBytes, 6);
  const digest256 before = hash({{bytes_view(data)}}).front();
  std::ranges::rotate(data, data.begin() + kLeafBytes);
  EXPECT_NE(hash({{bytes_view(data)}}).front(), before);
}

TEST(Chunk, CanBeHashedByManyThreadsAtOnce) {
  const Bytes data = random_bytes(kChunkBytes, 7);
  const bytes_view chunk(data);
  const digest256 expected = chunk_digest_by_definition(chunk);
  std::vector<digest256> digests(8);
  {
    std::vector<std::jthread> threads;
    for (digest256& digest : digests) {
      threads.emplace_back([&digest, &chunk] { chunk_digests({&chunk, 1}, {&digest, 1}); });
    }
  }
  for (const digest256& digest : digests) EXPECT_EQ(digest, expected);
}

}  // namespace
}  // namespace mckpt::digest
