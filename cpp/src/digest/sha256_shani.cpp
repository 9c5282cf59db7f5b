// SHA-256 with the x86 SHA extensions. sha256rnds2 has a latency of four cycles or more and a throughput of one in two,
// so a single message leaves the unit idle half of the time; a second one fills the gaps.
#include <immintrin.h>

#include "isa.hpp"

namespace mckpt::digest {

namespace {

// The order in which the instructions want the state, from the low word up: F E B A and H G D C.
template <std::size_t kLanes>
struct States {
  __m128i feba[kLanes];
  __m128i hgdc[kLanes];
};

__m128i load(const void* address) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(address)); }

void store(void* address, __m128i value) noexcept { _mm_storeu_si128(static_cast<__m128i*>(address), value); }

void load_states(const std::uint32_t* words, States<1>& states) noexcept {
  const __m128i badc = _mm_shuffle_epi32(load(words), 0xb1);      // b a d c
  const __m128i hgfe = _mm_shuffle_epi32(load(words + 4), 0x1b);  // h g f e
  states = {{_mm_alignr_epi8(badc, hgfe, 8)}, {_mm_blend_epi16(hgfe, badc, 0xf0)}};
}

void store_states(std::uint32_t* words, const States<1>& states) noexcept {
  const __m128i abef = _mm_shuffle_epi32(states.feba[0], 0x1b);
  const __m128i ghcd = _mm_shuffle_epi32(states.hgdc[0], 0xb1);
  store(words, _mm_blend_epi16(abef, ghcd, 0xf0));
  store(words + 4, _mm_alignr_epi8(ghcd, abef, 8));
}

// Word-major, two lanes: a0 a1 b0 b1, c0 c1 d0 d1, e0 e1 f0 f1, g0 g1 h0 h1.
template <int kLane>
__m128i gather_lane(const std::uint32_t* low, const std::uint32_t* high) noexcept {
  constexpr int kOrder = kLane == 0 ? _MM_SHUFFLE(0, 2, 0, 2) : _MM_SHUFFLE(1, 3, 1, 3);
  return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(load(low)), _mm_castsi128_ps(load(high)), kOrder));
}

void load_states(const std::uint32_t* words, States<2>& states) noexcept {
  states = {{gather_lane<0>(words + 8, words), gather_lane<1>(words + 8, words)},
            {gather_lane<0>(words + 12, words + 4), gather_lane<1>(words + 12, words + 4)}};
}

void store_pair(std::uint32_t* low, std::uint32_t* high, const __m128i (&lanes)[2]) noexcept {
  store(low, _mm_shuffle_epi32(_mm_unpacklo_epi32(lanes[0], lanes[1]), 0x4e));
  store(high, _mm_shuffle_epi32(_mm_unpackhi_epi32(lanes[0], lanes[1]), 0x4e));
}

void store_states(std::uint32_t* words, const States<2>& states) noexcept {
  store_pair(words + 8, words, states.feba);
  store_pair(words + 12, words + 4, states.hgdc);
}

// Four rounds of every lane, and the message words for the four rounds sixteen later.
template <std::size_t kLanes>
inline __attribute__((always_inline)) void four_rounds(int group, States<kLanes>& s, __m128i (&w)[kLanes][4]) noexcept {
  const __m128i constants = load(kRoundConstants + 4 * group);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kLanes; ++i) {
    __m128i& current = w[i][group % 4];
    const __m128i next = w[i][(group + 1) % 4];
    const __m128i third = w[i][(group + 3) % 4];
    const __m128i input = _mm_add_epi32(current, constants);
    s.hgdc[i] = _mm_sha256rnds2_epu32(s.hgdc[i], s.feba[i], input);
    s.feba[i] = _mm_sha256rnds2_epu32(s.feba[i], s.hgdc[i], _mm_shuffle_epi32(input, 0x0e));
    if (group >= 12) continue;
    const __m128i seventh = _mm_alignr_epi8(third, w[i][(group + 2) % 4], 4);
    current = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(current, next), seventh), third);
  }
}

template <std::size_t kLanes>
void compress(std::uint32_t* words, const std::byte* const* data, std::size_t blocks) noexcept {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  States<kLanes> states;
  load_states(words, states);
  for (std::size_t offset = 0; offset < blocks * kBlockBytes; offset += kBlockBytes) {
    States<kLanes> s = states;
    __m128i w[kLanes][4];
    for (std::size_t i = 0; i < kLanes; ++i) {
      for (std::size_t j = 0; j < 4; ++j) w[i][j] = _mm_shuffle_epi8(load(data[i] + offset + 16 * j), big_endian);
    }
#pragma GCC unroll 16
    for (int group = 0; group < 16; ++group) four_rounds(group, s, w);
    for (std::size_t i = 0; i < kLanes; ++i) {
      states.feba[i] = _mm_add_epi32(states.feba[i], s.feba[i]);
      states.hgdc[i] = _mm_add_epi32(states.hgdc[i], s.hgdc[i]);
    }
  }
  store_states(words, states);
}

}  // namespace

void sha256_compress_shani_x1(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  compress<1>(states, data, blocks);
}

void sha256_compress_shani_x2(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  compress<2>(states, data, blocks);
}

}  // namespace mckpt::digest
