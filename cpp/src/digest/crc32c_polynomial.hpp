// Constants for moving a CRC-32C over data by carry-less multiplication.
//
// Bits are reflected, as everywhere in this CRC: the lowest bit is the highest power of x. The carry-less product of
// two reflected words a and k, k of 32 bits, is then a * k * x^33 (read as twice as many bits). Evaluated by the
// compiler only, so this header may be included by files that are compiled with extra instruction sets (see isa.hpp).
#pragma once

#include <cstdint>

namespace mckpt::digest {

inline constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78;

// x^n modulo the polynomial.
consteval std::uint32_t power_of_x(std::uint64_t n) {
  std::uint32_t power = 0x80000000;
  for (; n > 0; --n) power = (power >> 1) ^ ((power & 1) != 0 ? kReflectedPolynomial : 0);
  return power;
}

// What to multiply a CRC, or the later half of 128 bits, by to move it over `bytes` bytes.
consteval std::uint32_t shift_constant(std::uint64_t bytes) { return power_of_x(8 * bytes - 33); }

}  // namespace mckpt::digest
