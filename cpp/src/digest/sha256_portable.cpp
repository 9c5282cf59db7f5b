#include <bit>
#include <cstring>

#include "isa.hpp"

namespace mckpt::digest {

namespace {

std::uint32_t load_big_endian(const std::byte* data) noexcept {
  std::uint32_t word = 0;
  std::memcpy(&word, data, sizeof word);
  return __builtin_bswap32(word);
}

void compress_block(std::uint32_t* state, const std::byte* block) noexcept {
  std::uint32_t w[16];
  for (std::size_t i = 0; i < 16; ++i) w[i] = load_big_endian(block + 4 * i);

  std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 64
  for (std::size_t i = 0; i < 64; ++i) {
    if (i >= 16) {
      const std::uint32_t early = w[(i + 1) % 16];
      const std::uint32_t late = w[(i + 14) % 16];
      w[i % 16] += (std::rotr(early, 7) ^ std::rotr(early, 18) ^ (early >> 3)) + w[(i + 9) % 16] +
                   (std::rotr(late, 17) ^ std::rotr(late, 19) ^ (late >> 10));
    }
    const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + (g ^ (e & (f ^ g))) +
                             kRoundConstants[i] + w[i % 16];
    const std::uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) | (c & (a | b)));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

}  // namespace

void sha256_compress_portable(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  for (std::size_t i = 0; i < blocks; ++i) compress_block(states, data[0] + i * kBlockBytes);
}

}  // namespace mckpt::digest
