// CRC-32C by folding: four 512-bit accumulators take in 256 bytes at a time, each of their 128-bit lanes being moved
// over those bytes by two carry-less multiplications. The crc32 instruction does the rest.
#include <immintrin.h>

#include "crc32c_polynomial.hpp"
#include "isa.hpp"

#if !defined(__clang__)
// GCC 12 takes the deliberately undefined operands inside its own intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace mckpt::digest {

namespace {

constexpr std::size_t kVectorBytes = 64;
constexpr std::size_t kAccumulators = 4;
constexpr std::size_t kStrideBytes = kAccumulators * kVectorBytes;
constexpr std::size_t kWordBytes = 8;
constexpr int kXor3 = 0x96;

std::uint64_t load_word(const std::byte* data) noexcept {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, data, sizeof word);
  return word;
}

// Multipliers that move a 128-bit lane over kBytes bytes. Its low half is eight bytes further from the end.
template <std::size_t kBytes>
__m512i lane_constants() noexcept {
  constexpr auto kLow = static_cast<long long>(shift_constant(kBytes + kWordBytes));
  constexpr auto kHigh = static_cast<long long>(shift_constant(kBytes));
  return _mm512_set_epi64(kHigh, kLow, kHigh, kLow, kHigh, kLow, kHigh, kLow);
}

inline __attribute__((always_inline)) __m512i fold(__m512i accumulator, __m512i constants, __m512i next) noexcept {
  const __m512i low = _mm512_clmulepi64_epi128(accumulator, constants, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(accumulator, constants, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, kXor3);
}

// Replaces `size` bytes, a multiple of kStrideBytes, by 64 bytes with the same CRC. `crc` is in its inner form.
__m512i fold_all(std::uint64_t crc, const std::byte* data, std::size_t size) noexcept {
  __m512i accumulators[kAccumulators];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kAccumulators; ++i) accumulators[i] = _mm512_loadu_si512(data + i * kVectorBytes);
  accumulators[0] =
      _mm512_xor_si512(accumulators[0], _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<long long>(crc))));
  const __m512i stride = lane_constants<kStrideBytes>();
  for (std::size_t offset = kStrideBytes; offset < size; offset += kStrideBytes) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kAccumulators; ++i) {
      accumulators[i] = fold(accumulators[i], stride, _mm512_loadu_si512(data + offset + i * kVectorBytes));
    }
  }
  const __m512i vector = lane_constants<kVectorBytes>();
  __m512i result = accumulators[0];
#pragma GCC unroll 4
  for (std::size_t i = 1; i < kAccumulators; ++i) result = fold(result, vector, accumulators[i]);
  return result;
}

}  // namespace

std::uint32_t crc32c_extend_avx512(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept {
  std::uint64_t inner = ~crc;
  if (size >= kStrideBytes) {
    const std::size_t folded = size / kStrideBytes * kStrideBytes;
    alignas(kVectorBytes) std::uint64_t words[kVectorBytes / kWordBytes];
    _mm512_store_si512(words, fold_all(inner, data, folded));
    inner = 0;
    for (const std::uint64_t word : words) inner = _mm_crc32_u64(inner, word);
    data += folded;
    size -= folded;
  }
  for (; size >= kWordBytes; data += kWordBytes, size -= kWordBytes) inner = _mm_crc32_u64(inner, load_word(data));
  auto result = static_cast<std::uint32_t>(inner);
  for (; size > 0; ++data, --size) result = _mm_crc32_u8(result, static_cast<std::uint8_t>(*data));
  return ~result;
}

}  // namespace mckpt::digest
