#include <gtest/gtest.h>

#include "support.hpp"

namespace mckpt::digest {
namespace {

class Sha256Test : public testing::TestWithParam<Hasher> {
 protected:
  [[nodiscard]] static std::string hex(std::string_view text) { return to_hex(GetParam().hash(as_view(text))); }
};

INSTANTIATE_TEST_SUITE_P(Every, Sha256Test, testing::ValuesIn(all_hashers()),
                         [](const auto& each) { return each.param.name; });

// FIPS 180-4 examples and the NIST long message.
TEST_P(Sha256Test, MatchesPublishedVectors) {
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hex(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// The expected value is the SHA-256 of all 301 digests, taken with another implementation (Python's hashlib).
TEST_P(Sha256Test, PadsEveryLengthFrom0To300) {
  Bytes data(300);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7 + 1);
  Bytes digests;
  for (std::size_t size = 0; size <= data.size(); ++size) {
    const digest256 digest = GetParam().hash(bytes_view(data).first(size));
    digests.insert(digests.end(), digest.begin(), digest.end());
  }
  EXPECT_EQ(to_hex(GetParam().hash(digests)), "bb7d6d0d6592ab7edb752459c835ecac860ed253b337ce29b780d8e0bb3a76d5");
}

TEST_P(Sha256Test, HashesUnalignedData) {
  const Bytes data = random_bytes(64 + 1000, 1);
  for (std::size_t offset = 0; offset < 64; ++offset) {
    const bytes_view input = bytes_view(data).subspan(offset, 1000);
    EXPECT_EQ(GetParam().hash(input), portable_hasher().hash(input)) << "offset " << offset;
  }
}

TEST_P(Sha256Test, HashesMessagesOfUnequalLengthTogether) {
  const Bytes data = random_bytes(20'000, 2);
  std::mt19937_64 generator(3);
  for (const std::size_t count : {0, 1, 2, 3, 9, 10, 11, 12, 15, 16, 17, 31, 33, 100}) {
    std::vector<bytes_view> inputs;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t size = generator() % (i % 3 == 0 ? 10'000 : 200);
      inputs.push_back(bytes_view(data).subspan(generator() % 10'000, size));
    }
    EXPECT_EQ(GetParam().hash(inputs), portable_hasher().hash(inputs)) << count << " messages";
  }
}

TEST_P(Sha256Test, HashesMessagesOfEqualLengthTogether) {
  constexpr std::size_t kSize = 4096;
  const Bytes data = random_bytes(40 * kSize, 4);
  for (std::size_t count = 1; count <= 40; ++count) {
    std::vector<bytes_view> inputs;
    for (std::size_t i = 0; i < count; ++i) inputs.push_back(bytes_view(data).subspan(i * kSize, kSize));
    EXPECT_EQ(GetParam().hash(inputs), portable_hasher().hash(inputs)) << count << " messages";
  }
}

TEST_P(Sha256Test, ReadsNoByteBeyondItsMessages) {
  const GuardedBuffer buffer(1024);
  for (std::size_t size = 0; size <= 256; ++size) {
    std::vector<bytes_view> inputs(size % 20 + 1, buffer.last(size));
    inputs.emplace_back(buffer.last(1024));
    EXPECT_EQ(GetParam().hash(inputs), portable_hasher().hash(inputs)) << size << " bytes";
  }
}

TEST_P(Sha256Test, NoticesEveryFlippedBit) {
  Bytes data = random_bytes(130, 5);
  const digest256 before = GetParam().hash(data);
  for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    data[bit / 8] ^= mask;
    EXPECT_NE(GetParam().hash(data), before) << "bit " << bit;
    data[bit / 8] ^= mask;
  }
}

TEST(Midstate, ContinuesAsIfTheDomainBlockHadBeenHashed) {
  std::string text("mckpt.leaf.1");
  text.resize(kBlockBytes);
  const Midstate start = domain_midstate("mckpt.leaf.1");
  for (const std::string_view rest : {"", "abc"}) {
    digest256 digest;
    const Message message = {as_view(rest).data(), rest.size(), digest.data()};
    hash_messages(portable_hasher().kernels, start, {&message, 1});
    EXPECT_EQ(digest, sha256(as_view(text + std::string(rest))));
  }
}

TEST(Sha256, IsTheOneInUse) { EXPECT_EQ(sha256(as_view("abc")), portable_hasher().hash(as_view("abc"))); }

}  // namespace
}  // namespace mckpt::digest
