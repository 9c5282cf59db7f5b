// Digests of tensor bytes: docs/format.md, section 1.
//
// Everything here is pure computation: no allocation after construction unless stated, no I/O, no threads of its own,
// safe to call from any number of threads at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mckpt {

using bytes_view = std::span<const std::byte>;
using digest256 = std::array<std::byte, 32>;

inline constexpr std::size_t kLeafBytes = 64 * 1024;
inline constexpr std::size_t kChunkBytes = 1024 * 1024;
inline constexpr std::size_t kChunkEntryBytes = 32 + 4;  // digest, checksum: part of the persistent format

// Number of chunks of a tensor of `size` bytes; 0 for an empty one.
[[nodiscard]] constexpr std::uint64_t chunk_count(std::uint64_t size) noexcept {
  return size / kChunkBytes + (size % kChunkBytes != 0 ? 1 : 0);
}

// One entry of a chunk table. `sha256` is the chunk digest, `crc32c` the chunk checksum.
struct ChunkDigest {
  digest256 sha256{};
  std::uint32_t crc32c = 0;
};

// SHA-256 of `data` (FIPS 180-4), on one stream.
[[nodiscard]] digest256 sha256(bytes_view data) noexcept;

// CRC-32C of `data`, continuing from `crc` (0 to begin): crc32c(b, crc32c(a)) == crc32c(a ‖ b).
[[nodiscard]] std::uint32_t crc32c(bytes_view data, std::uint32_t crc = 0) noexcept;

// Writes the chunk digest of chunks[i] to out[i]. Chunks are hashed together, their leaves spread over the lanes of
// the widest kernel, so pass several small chunks at once. Precondition: chunks.size() == out.size(), each chunk is
// at most kChunkBytes and not empty.
void chunk_digests(std::span<const bytes_view> chunks, std::span<digest256> out) noexcept;

// Names of the kernels that this CPU can run, best first; the first is the one in use. The environment variables
// MCKPT_SHA256 and MCKPT_CRC32C put another one first; they are read once. An unknown or unsupported name is ignored
// and reported by kernel_warning().
[[nodiscard]] std::vector<std::string_view> sha256_kernels();
[[nodiscard]] std::vector<std::string_view> crc32c_kernels();
[[nodiscard]] std::string kernel_warning();

}  // namespace mckpt
