// CRC-32C with the Armv8 crc32c instructions, three stripes at once, joined by carry-less multiplication (PMULL). The
// x86 file crc32c_sse42.cpp is its twin.
#include <arm_acle.h>
#include <arm_neon.h>

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

// The CRC moved over kBytes bytes, not yet reduced: feed it to crc32cd together with the last eight of those bytes.
template <std::size_t kBytes>
std::uint64_t shift(std::uint32_t crc) noexcept {
  constexpr poly64_t kConstant = shift_constant(kBytes);
  return vgetq_lane_u64(vreinterpretq_u64_p128(vmull_p64(poly64_t{crc}, kConstant)), 0);
}

// The CRC (in its inner form, not inverted) of three neighbouring stripes.
template <std::size_t kStripeBytes>
std::uint32_t three_stripes(std::uint32_t crc, const std::byte* data) noexcept {
  static_assert(kStripeBytes % kWordBytes == 0);
  const std::byte* const second_data = data + kStripeBytes;
  const std::byte* const third_data = data + 2 * kStripeBytes;
  std::uint32_t second = 0;
  std::uint32_t third = 0;
  for (std::size_t i = 0; i < kStripeBytes - kWordBytes; i += kWordBytes) {
    crc = __crc32cd(crc, load_word(data + i));
    second = __crc32cd(second, load_word(second_data + i));
    third = __crc32cd(third, load_word(third_data + i));
  }
  constexpr std::size_t kLast = kStripeBytes - kWordBytes;
  crc = __crc32cd(crc, load_word(data + kLast));
  second = __crc32cd(second, load_word(second_data + kLast));
  const std::uint64_t moved = shift<2 * kStripeBytes>(crc) ^ shift<kStripeBytes>(second);
  return __crc32cd(third, load_word(third_data + kLast) ^ moved);
}

constexpr std::size_t kLongStripe = 4 * 1024;
constexpr std::size_t kShortStripe = 192;

}  // namespace

std::uint32_t crc32c_extend_arm(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept {
  crc = ~crc;
  for (; size >= 3 * kLongStripe; data += 3 * kLongStripe, size -= 3 * kLongStripe) {
    crc = three_stripes<kLongStripe>(crc, data);
  }
  for (; size >= 3 * kShortStripe; data += 3 * kShortStripe, size -= 3 * kShortStripe) {
    crc = three_stripes<kShortStripe>(crc, data);
  }
  for (; size >= kWordBytes; data += kWordBytes, size -= kWordBytes) crc = __crc32cd(crc, load_word(data));
  for (; size > 0; ++data, --size) crc = __crc32cb(crc, static_cast<std::uint8_t>(*data));
  return ~crc;
}

}  // namespace mckpt::digest
