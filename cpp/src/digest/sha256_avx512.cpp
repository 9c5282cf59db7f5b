// SHA-256 of sixteen messages at once: each 512-bit register holds one word of all lanes.
#include <immintrin.h>

#include "isa.hpp"

#if !defined(__clang__)
// GCC 12 takes the deliberately undefined operands inside its own intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace mckpt::digest {

namespace {

constexpr std::size_t kLanes = 16;
constexpr int kXor3 = 0x96;      // a ^ b ^ c
constexpr int kChoose = 0xca;    // a ? b : c
constexpr int kMajority = 0xe8;  // of a, b, c

template <int kFirst, int kSecond, int kThird>
inline __attribute__((always_inline)) __m512i big_sigma(__m512i x) noexcept {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kFirst), _mm512_ror_epi32(x, kSecond),
                                   _mm512_ror_epi32(x, kThird), kXor3);
}

template <int kFirst, int kSecond, int kShift>
inline __attribute__((always_inline)) __m512i small_sigma(__m512i x) noexcept {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kFirst), _mm512_ror_epi32(x, kSecond),
                                   _mm512_srli_epi32(x, kShift), kXor3);
}

// Turns sixteen rows, one block of each lane, into columns: register j then holds word j of all lanes.
inline __attribute__((always_inline)) void transpose(__m512i (&r)[16]) noexcept {
  __m512i t[16];
  __m512i u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(u[i], u[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(u[i], u[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

inline __attribute__((always_inline)) void load_words(__m512i (&w)[16], const std::byte* const* data,
                                                      std::size_t offset) noexcept {
  const __m512i big_endian = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kLanes; ++i) {
    w[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(data[i] + offset), big_endian);
  }
  transpose(w);
}

// The state rotates through the registers: in round i, word n of the state is s[(n - i) mod 8].
inline __attribute__((always_inline)) void round(unsigned i, __m512i (&s)[8], __m512i word) noexcept {
  const __m512i a = s[(0 - i) % 8];
  const __m512i b = s[(1 - i) % 8];
  const __m512i c = s[(2 - i) % 8];
  __m512i& d = s[(3 - i) % 8];
  const __m512i e = s[(4 - i) % 8];
  const __m512i f = s[(5 - i) % 8];
  const __m512i g = s[(6 - i) % 8];
  __m512i& h = s[(7 - i) % 8];
  const __m512i input = _mm512_add_epi32(word, _mm512_set1_epi32(static_cast<int>(kRoundConstants[i])));
  const __m512i choice = _mm512_ternarylogic_epi32(e, f, g, kChoose);
  const __m512i t1 = _mm512_add_epi32(_mm512_add_epi32(_mm512_add_epi32(h, big_sigma<6, 11, 25>(e)), choice), input);
  const __m512i t2 = _mm512_add_epi32(big_sigma<2, 13, 22>(a), _mm512_ternarylogic_epi32(a, b, c, kMajority));
  d = _mm512_add_epi32(d, t1);
  h = _mm512_add_epi32(t1, t2);
}

inline __attribute__((always_inline)) void extend_message(__m512i (&w)[16]) noexcept {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const __m512i early = small_sigma<7, 18, 3>(w[(i + 1) % 16]);
    const __m512i late = small_sigma<17, 19, 10>(w[(i + 14) % 16]);
    w[i] = _mm512_add_epi32(_mm512_add_epi32(w[i], early), _mm512_add_epi32(w[(i + 9) % 16], late));
  }
}

}  // namespace

void sha256_compress_avx512_x16(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  for (std::size_t offset = 0; offset < blocks * kBlockBytes; offset += kBlockBytes) {
    __m512i w[16];
    load_words(w, data, offset);
    __m512i s[kStateWords];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kStateWords; ++i) s[i] = _mm512_load_si512(states + i * kLanes);
#pragma GCC unroll 4
    for (unsigned first = 0; first < 64; first += 16) {
      if (first > 0) extend_message(w);
#pragma GCC unroll 16
      for (unsigned i = 0; i < 16; ++i) round(first + i, s, w[i]);
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kStateWords; ++i) {
      _mm512_store_si512(states + i * kLanes, _mm512_add_epi32(s[i], _mm512_load_si512(states + i * kLanes)));
    }
  }
}

}  // namespace mckpt::digest
