// Chunks that are hashed together.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "mckpt/digest.hpp"

namespace mckpt {

// About one full chunk's worth of bytes: enough leaves for all lanes of the widest kernel, and little enough that the
// bytes are still in the core's cache for what follows. Allocates nothing.
class ChunkBatch {
 public:
  static constexpr std::size_t kCapacity = 256;

  [[nodiscard]] bool is_full() const noexcept { return bytes_ >= kChunkBytes || count_ == kCapacity; }
  [[nodiscard]] std::span<const bytes_view> chunks() const noexcept { return {chunks_.data(), count_}; }

  // Precondition: not full.
  void add(bytes_view chunk) noexcept {
    chunks_[count_++] = chunk;
    bytes_ += chunk.size();
  }

  void clear() noexcept { count_ = bytes_ = 0; }

  // Chunk digests of chunks(), valid until the next call.
  [[nodiscard]] std::span<const digest256> digests() noexcept {
    chunk_digests(chunks(), {digests_.data(), count_});
    return {digests_.data(), count_};
  }

 private:
  std::array<bytes_view, kCapacity> chunks_{};
  std::array<digest256, kCapacity> digests_{};
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace mckpt
