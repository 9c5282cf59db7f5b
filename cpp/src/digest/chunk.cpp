#include "chunk.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "sha256_lanes.hpp"

namespace mckpt::digest {

namespace {

constexpr std::size_t kMaxLeaves = kChunkBytes / kLeafBytes;
constexpr std::size_t kDigestBytes = sizeof(digest256);
constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

// Enough that the lanes seldom run dry among tiny chunks, little enough (56 KiB) for any thread's stack.
constexpr std::size_t kBatchChunks = 64;

// The message of a chunk digest after its domain: u64 chunk length, leaf digests.
using ChunkNode = std::array<std::byte, kLengthBytes + kMaxLeaves * kDigestBytes>;

// The leaves and the nodes of up to kBatchChunks chunks. Its arrays are deliberately not initialized.
class Batch {
 public:
  void add(bytes_view chunk, digest256& out) noexcept {
    assert(!chunk.empty() && chunk.size() <= kChunkBytes);
    ChunkNode& node = node_bytes_[chunks_];
    const std::uint64_t length = chunk.size();
    std::memcpy(node.data(), &length, kLengthBytes);
    std::byte* end = node.data() + kLengthBytes;
    for (std::size_t at = 0; at < chunk.size(); at += kLeafBytes, end += kDigestBytes) {
      leaves_[leaf_count_++] = {chunk.data() + at, std::min(kLeafBytes, chunk.size() - at), end};
    }
    nodes_[chunks_++] = {node.data(), static_cast<std::size_t>(end - node.data()), out.data()};
  }

  void hash(std::span<const Sha256Kernel> kernels) const noexcept {
    static const Midstate leaf_start = domain_midstate("mckpt.leaf.1");
    static const Midstate chunk_start = domain_midstate("mckpt.chunk.1");
    hash_messages(kernels, leaf_start, std::span(leaves_).first(leaf_count_));
    hash_messages(kernels, chunk_start, std::span(nodes_).first(chunks_));
  }

 private:
  std::size_t chunks_ = 0;
  std::size_t leaf_count_ = 0;
  std::array<Message, kBatchChunks> nodes_;
  std::array<ChunkNode, kBatchChunks> node_bytes_;
  std::array<Message, kBatchChunks * kMaxLeaves> leaves_;
};

}  // namespace

void chunk_digests_with(const Sha256Implementation& implementation, std::span<const bytes_view> chunks,
                        std::span<digest256> out) noexcept {
  assert(chunks.size() == out.size());
  for (std::size_t begin = 0; begin < chunks.size(); begin += kBatchChunks) {
    Batch batch;
    const std::size_t end = std::min(begin + kBatchChunks, chunks.size());
    for (std::size_t i = begin; i < end; ++i) batch.add(chunks[i], out[i]);
    batch.hash(implementation.kernels);
  }
}

}  // namespace mckpt::digest
