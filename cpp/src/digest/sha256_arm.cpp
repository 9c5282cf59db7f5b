// SHA-256 with the Armv8 cryptographic extension. As on x86, one message leaves the unit idle while it waits for its
// own results; a second one fills the gaps.
#include <arm_neon.h>

#include "isa.hpp"

namespace mckpt::digest {

namespace {

template <std::size_t kLanes>
struct States {
  uint32x4_t abcd[kLanes];
  uint32x4_t efgh[kLanes];
};

// Words are stored word by word: word w of lane i is words[w * kLanes + i].
void load_states(const std::uint32_t* words, States<1>& states) noexcept {
  states = {{vld1q_u32(words)}, {vld1q_u32(words + 4)}};
}

void store_states(std::uint32_t* words, const States<1>& states) noexcept {
  vst1q_u32(words, states.abcd[0]);
  vst1q_u32(words + 4, states.efgh[0]);
}

void load_states(const std::uint32_t* words, States<2>& states) noexcept {
  const uint32x4x2_t low = vld2q_u32(words);
  const uint32x4x2_t high = vld2q_u32(words + 8);
  states = {{low.val[0], low.val[1]}, {high.val[0], high.val[1]}};
}

void store_states(std::uint32_t* words, const States<2>& states) noexcept {
  vst2q_u32(words, {{states.abcd[0], states.abcd[1]}});
  vst2q_u32(words + 8, {{states.efgh[0], states.efgh[1]}});
}

uint32x4_t load_big_endian(const std::byte* data) noexcept {
  return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(data))));
}

// Four rounds of every lane, and the message words for the four rounds sixteen later.
template <std::size_t kLanes>
inline __attribute__((always_inline)) void four_rounds(int group, States<kLanes>& s,
                                                       uint32x4_t (&w)[kLanes][4]) noexcept {
  const uint32x4_t constants = vld1q_u32(kRoundConstants + 4 * group);
#pragma GCC unroll 2
  for (std::size_t i = 0; i < kLanes; ++i) {
    uint32x4_t& current = w[i][group % 4];
    const uint32x4_t input = vaddq_u32(current, constants);
    const uint32x4_t abcd = s.abcd[i];
    s.abcd[i] = vsha256hq_u32(abcd, s.efgh[i], input);
    s.efgh[i] = vsha256h2q_u32(s.efgh[i], abcd, input);
    if (group >= 12) continue;
    const uint32x4_t partial = vsha256su0q_u32(current, w[i][(group + 1) % 4]);
    current = vsha256su1q_u32(partial, w[i][(group + 2) % 4], w[i][(group + 3) % 4]);
  }
}

template <std::size_t kLanes>
void compress(std::uint32_t* words, const std::byte* const* data, std::size_t blocks) noexcept {
  States<kLanes> states;
  load_states(words, states);
  for (std::size_t offset = 0; offset < blocks * kBlockBytes; offset += kBlockBytes) {
    States<kLanes> s = states;
    uint32x4_t w[kLanes][4];
    for (std::size_t i = 0; i < kLanes; ++i) {
      for (std::size_t j = 0; j < 4; ++j) w[i][j] = load_big_endian(data[i] + offset + 16 * j);
    }
#pragma GCC unroll 16
    for (int group = 0; group < 16; ++group) four_rounds(group, s, w);
    for (std::size_t i = 0; i < kLanes; ++i) {
      states.abcd[i] = vaddq_u32(states.abcd[i], s.abcd[i]);
      states.efgh[i] = vaddq_u32(states.efgh[i], s.efgh[i]);
    }
  }
  store_states(words, states);
}

}  // namespace

void sha256_compress_arm_x1(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  compress<1>(states, data, blocks);
}

void sha256_compress_arm_x2(std::uint32_t* states, const std::byte* const* data, std::size_t blocks) noexcept {
  compress<2>(states, data, blocks);
}

}  // namespace mckpt::digest
