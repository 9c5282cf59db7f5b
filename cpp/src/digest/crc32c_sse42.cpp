// CRC-32C with the crc32 instruction, which has a latency of three cycles and a throughput of one: three stripes of
// data are worked on at once, and their CRCs joined by carry-less multiplication.
#include <immintrin.h>

#include "crc32c_polynomial.hpp"
#include "isa.hpp"

namespace mckpt::digest {

namespace {

constexpr std::size_t kWordBytes = 8;

std::uint64_t load_word(const std::byte* data) noexcept {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, data, sizeof word);
  return word;
}

// The CRC moved over kBytes bytes, not yet reduced: feed it to crc32 together with the last eight of those bytes.
template <std::size_t kBytes>
std::uint64_t shift(std::uint64_t crc) noexcept {
  constexpr auto kConstant = static_cast<int>(shift_constant(kBytes));
  const __m128i value = _mm_cvtsi64_si128(static_cast<long long>(crc));
  const __m128i product = _mm_clmulepi64_si128(value, _mm_cvtsi32_si128(kConstant), 0);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(product));
}

// The CRC (in its inner form, not inverted) of three neighbouring stripes.
template <std::size_t kStripeBytes>
std::uint64_t three_stripes(std::uint64_t crc, const std::byte* data) noexcept {
  static_assert(kStripeBytes % kWordBytes == 0);
  const std::byte* const second_data = data + kStripeBytes;
  const std::byte* const third_data = data + 2 * kStripeBytes;
  std::uint64_t second = 0;
  std::uint64_t third = 0;
  for (std::size_t i = 0; i < kStripeBytes - kWordBytes; i += kWordBytes) {
    crc = _mm_crc32_u64(crc, load_word(data + i));
    second = _mm_crc32_u64(second, load_word(second_data + i));
    third = _mm_crc32_u64(third, load_word(third_data + i));
  }
  constexpr std::size_t kLast = kStripeBytes - kWordBytes;
  crc = _mm_crc32_u64(crc, load_word(data + kLast));
  second = _mm_crc32_u64(second, load_word(second_data + kLast));
  const std::uint64_t moved = shift<2 * kStripeBytes>(crc) ^ shift<kStripeBytes>(second);
  return _mm_crc32_u64(third, load_word(third_data + kLast) ^ moved);
}

constexpr std::size_t kLongStripe = 4 * 1024;
constexpr std::size_t kShortStripe = 192;

}  // namespace

std::uint32_t crc32c_extend_sse42(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept {
  std::uint64_t inner = ~crc;
  for (; size >= 3 * kLongStripe; data += 3 * kLongStripe, size -= 3 * kLongStripe) {
    inner = three_stripes<kLongStripe>(inner, data);
  }
  for (; size >= 3 * kShortStripe; data += 3 * kShortStripe, size -= 3 * kShortStripe) {
    inner = three_stripes<kShortStripe>(inner, data);
  }
  for (; size >= kWordBytes; data += kWordBytes, size -= kWordBytes) inner = _mm_crc32_u64(inner, load_word(data));
  auto result = static_cast<std::uint32_t>(inner);
  for (; size > 0; ++data, --size) result = _mm_crc32_u8(result, static_cast<std::uint8_t>(*data));
  return ~result;
}

}  // namespace mckpt::digest
