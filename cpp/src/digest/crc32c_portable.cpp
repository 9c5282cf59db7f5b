// Slice-by-8: table k maps a byte to its CRC followed by k zero bytes, so that eight bytes are looked up independently.
#include <array>
#include <cstring>

#include "crc32c_polynomial.hpp"
#include "isa.hpp"

namespace mckpt::digest {

namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

consteval Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[k - 1][byte];
      tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint32_t extend_eight_bytes(std::uint32_t crc, const std::byte* data) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, data, sizeof word);
  word ^= crc;
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < 8; ++i) result ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
  return result;
}

}  // namespace

std::uint32_t crc32c_extend_portable(std::uint32_t crc, const std::byte* data, std::size_t size) noexcept {
  crc = ~crc;
  for (; size >= 8; data += 8, size -= 8) crc = extend_eight_bytes(crc, data);
  for (; size > 0; ++data, --size) crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<std::uint32_t>(*data)) & 0xff];
  return ~crc;
}

}  // namespace mckpt::digest
