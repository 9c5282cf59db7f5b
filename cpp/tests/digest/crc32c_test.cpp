#include <gtest/gtest.h>

#include <algorithm>

#include "support.hpp"

namespace mckpt::digest {
namespace {

class Crc32cTest : public testing::TestWithParam<Crc32cImplementation> {
 protected:
  [[nodiscard]] static std::uint32_t extend(std::uint32_t crc, bytes_view data) {
    return GetParam().extend(crc, data.data(), data.size());
  }
  [[nodiscard]] static std::uint32_t portable(std::uint32_t crc, bytes_view data) {
    return supported_crc32c().back().extend(crc, data.data(), data.size());
  }
};

INSTANTIATE_TEST_SUITE_P(Every, Crc32cTest, testing::ValuesIn(supported_crc32c()),
                         [](const auto& each) { return std::string(each.param.name); });

// RFC 3720, appendix B.4, and the usual check value.
TEST_P(Crc32cTest, MatchesPublishedVectors) {
  Bytes data(32, std::byte{0});
  EXPECT_EQ(extend(0, data), 0x8a9136aaU);
  std::ranges::fill(data, std::byte{0xff});
  EXPECT_EQ(extend(0, data), 0x62a8ab43U);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  EXPECT_EQ(extend(0, data), 0x46dd794eU);
  std::ranges::reverse(data);
  EXPECT_EQ(extend(0, data), 0x113fdb5cU);

  constexpr unsigned char kScsiReadCommand[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                                  0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                                  0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
  EXPECT_EQ(extend(0, std::as_bytes(std::span(kScsiReadCommand))), 0xd9963a56U);
  EXPECT_EQ(extend(0, as_view("123456789")), 0xe3069283U);
  EXPECT_EQ(extend(0, {}), 0U);
}

TEST_P(Crc32cTest, MatchesPortableAtEveryLengthAndAlignment) {
  const Bytes data = random_bytes(16 + 1400, 1);
  for (std::size_t size = 0; size <= 1400; ++size) {
    const bytes_view input = bytes_view(data).subspan(size % 16, size);
    EXPECT_EQ(extend(0, input), portable(0, input)) << size << " bytes";
  }
}

TEST_P(Crc32cTest, MatchesPortableAroundTheEdgesOfItsStripes) {
  const Bytes data = random_bytes(kChunkBytes + 8, 2);
  for (const std::size_t edge :
       {std::size_t{4096}, std::size_t{8192}, 3 * std::size_t{4096}, kLeafBytes, kChunkBytes}) {
    for (std::size_t size = edge - 8; size <= edge + 8; ++size) {
      const bytes_view input = bytes_view(data).first(size);
      EXPECT_EQ(extend(0, input), portable(0, input)) << size << " bytes";
    }
  }
}

TEST_P(Crc32cTest, ContinuesFromAnEarlierPart) {
  const Bytes data = random_bytes(20'000, 3);
  const std::uint32_t whole = portable(0, data);
  std::mt19937_64 generator(4);
  for (int i = 0; i < 300; ++i) {
    const std::size_t cut = generator() % (data.size() + 1);
    const bytes_view view(data);
    EXPECT_EQ(extend(extend(0, view.first(cut)), view.subspan(cut)), whole) << "cut at " << cut;
  }
}

TEST_P(Crc32cTest, ReadsNoByteBeyondItsData) {
  const GuardedBuffer buffer(16 * 1024);
  for (const std::size_t size : {0, 1, 7, 8, 9, 255, 256, 257, 575, 576, 577, 1000, 12'287, 12'288, 12'289, 16'384}) {
    EXPECT_EQ(extend(0, buffer.last(size)), portable(0, buffer.last(size))) << size << " bytes";
  }
}

TEST_P(Crc32cTest, NoticesEveryFlippedBit) {
  Bytes data = random_bytes(700, 5);
  const std::uint32_t before = extend(0, data);
  for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    data[bit / 8] ^= mask;
    EXPECT_NE(extend(0, data), before) << "bit " << bit;
    data[bit / 8] ^= mask;
  }
}

TEST(Crc32c, ContinuesThroughThePublicFunction) {
  EXPECT_EQ(crc32c(as_view("56789"), crc32c(as_view("1234"))), 0xe3069283U);
}

}  // namespace
}  // namespace mckpt::digest
