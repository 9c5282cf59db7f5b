// Entry points of the files that are compiled with extra instruction sets.
//
// Those files include this header, so it holds declarations and constants only. An inline function here, or one of the
// standard library that they call, would be emitted with AVX-512 code in it, and the linker could then pick that copy
// for everybody. For the same reason these functions take raw pointers.
//
// compress: `states` holds the chaining values of all lanes, word by word: word w of lane i is
// states[w * lanes + i]. data[i] is lane i's next block; each lane takes in `blocks` blocks of 64 bytes. A lane with
// nothing to do gets any readable data, and its state is garbage afterwards. `states` is aligned to 64 bytes.
//
// extend: the CRC-32C of `size` bytes at `data`, continuing from `crc`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mckpt::digest {

inline constexpr std::size_t kBlockBytes = 64;
inline constexpr std::size_t kStateWords = 8;

// FIPS 180-4, section 4.2.2.
alignas(64) inline constexpr std::uint32_t kRoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// Portable: one lane, slice-by-8.
void sha256_compress_portable(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;
std::uint32_t crc32c_extend_portable(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept;

// x86-64 SHA extensions, one and two lanes.
void sha256_compress_shani_x1(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;
void sha256_compress_shani_x2(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;

// AVX-512 (F, BW), sixteen lanes.
void sha256_compress_avx512_x16(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;

// Armv8 SHA-2, one and two lanes.
void sha256_compress_arm_x1(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;
void sha256_compress_arm_x2(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept;

// SSE4.2 and PCLMULQDQ; AVX-512 with VPCLMULQDQ; Armv8 CRC32 and PMULL.
std::uint32_t crc32c_extend_sse42(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept;
std::uint32_t crc32c_extend_avx512(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept;
std::uint32_t crc32c_extend_arm(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept;

}  // namespace mckpt::digest
