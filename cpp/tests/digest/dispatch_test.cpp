#include "dispatch.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support.hpp"

namespace mckpt::digest {
namespace {

constexpr Crc32cImplementation kFirst = {"first", nullptr};
constexpr Crc32cImplementation kSecond = {"second", nullptr};
constexpr Crc32cImplementation kThird = {"third", nullptr};

template <class Implementation>
std::string names(const Ranking<Implementation>& implementations) {
  std::string result;
  for (const Implementation& implementation : implementations) result.append(implementation.name).append(" ");
  return result;
}

Ranking<Crc32cImplementation> ranking(std::initializer_list<Crc32cImplementation> implementations) {
  Ranking<Crc32cImplementation> result;
  for (const Crc32cImplementation& implementation : implementations) result.push_back(implementation);
  return result;
}

TEST(Prefer, PutsTheRequestedOneFirstAndKeepsTheOrderOfTheOthers) {
  Ranking<Crc32cImplementation> list = ranking({kFirst, kSecond, kThird});
  EXPECT_TRUE(prefer(list, "third"));
  EXPECT_EQ(names(list), "third first second ");
}

TEST(Prefer, IgnoresAnUnknownNameAndSaysWhatIsPossible) {
  Ranking<Crc32cImplementation> list = ranking({kFirst, kSecond});
  EXPECT_FALSE(prefer(list, "fourth"));
  EXPECT_EQ(warning_of(list, "fourth", "VARIABLE"), "VARIABLE=fourth ignored; this CPU can run: first second");
  EXPECT_EQ(names(list), "first second ");
}

TEST(Supported, EndsWithThePortableKernels) {
  EXPECT_EQ(supported_sha256().back().name, "portable");
  EXPECT_EQ(supported_crc32c().back().name, "portable");
}

TEST(Supported, KernelsNarrowDownToOneLane) {
  for (const Sha256Implementation& implementation : supported_sha256()) {
    std::size_t lanes = kMaxLanes + 1;
    for (const Sha256Kernel& kernel : implementation.kernels) {
      EXPECT_LT(kernel.lanes, lanes) << implementation.name;
      EXPECT_LE(kernel.min_busy, kernel.lanes) << implementation.name;
      lanes = kernel.lanes;
    }
    EXPECT_EQ(implementation.kernels.back().lanes, 1U) << implementation.name;
    EXPECT_EQ(implementation.kernels.back().min_busy, 1U) << implementation.name;
  }
}

TEST(Supported, ACpuWithoutExtensionsRunsPortableCode) {
  EXPECT_EQ(names(supported_sha256(CpuFeatures{})), "portable ");
  EXPECT_EQ(names(supported_crc32c(CpuFeatures{})), "portable ");
}

#if defined(__x86_64__)

TEST(Supported, EveryInstructionThatAKernelUsesIsAskedFor) {
  EXPECT_EQ(names(supported_sha256({.sha = true})), "portable ");
  EXPECT_EQ(names(supported_sha256({.sse42 = true, .sha = true})), "shani portable ");
  EXPECT_EQ(names(supported_sha256({.sse42 = true, .sha = true, .avx512 = true})), "avx512 shani portable ");
  EXPECT_EQ(names(supported_crc32c({.sse42 = true})), "portable ");
  EXPECT_EQ(names(supported_crc32c({.sse42 = true, .pclmulqdq = true, .avx512 = true})), "sse42 portable ");
  EXPECT_EQ(names(supported_crc32c({.sse42 = true, .pclmulqdq = true, .vpclmulqdq = true})), "sse42 portable ");
}

// Skylake-X and its kin.
TEST(Supported, Avx512NarrowsDownToPortableCodeWithoutTheShaExtensions) {
  const auto list = supported_sha256({.sse42 = true, .avx512 = true});
  EXPECT_EQ(names(list), "avx512 portable ");
  ASSERT_EQ(list.front().kernels.size(), 2U);
  EXPECT_EQ(list.front().kernels.back().compress, list.back().kernels.back().compress);
}

#endif

// The environment is read once in a process, so each of these runs in a process of its own.
class Environment : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  [[noreturn]] static void exit_with(bool success) { std::_Exit(success ? EXIT_SUCCESS : EXIT_FAILURE); }

  static void set(const char* sha256, const char* crc32c) {
    setenv("MCKPT_SHA256", sha256, 1);
    setenv("MCKPT_CRC32C", crc32c, 1);
  }
};

TEST_F(Environment, ChoosesTheKernels) {
  const auto body = [] {
    set("portable", "portable");
    exit_with(sha256_kernels().front() == "portable" && crc32c_kernels().front() == "portable" &&
              sha256_kernels().size() == supported_sha256().size() && kernel_warning().empty());
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(EXIT_SUCCESS), "");
}

TEST_F(Environment, WithoutRequestTheBestKernelsAreInUse) {
  const auto body = [] {
    set("", "");
    exit_with(sha256_kernels().front() == supported_sha256().front().name &&
              crc32c_kernels().front() == supported_crc32c().front().name && kernel_warning().empty());
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(EXIT_SUCCESS), "");
}

TEST_F(Environment, UnknownNamesAreIgnoredAndReported) {
  const auto body = [] {
    set("sha3", "adler");
    exit_with(sha256_kernels().front() == supported_sha256().front().name &&
              kernel_warning().starts_with("MCKPT_SHA256=sha3 ignored; this CPU can run: ") &&
              kernel_warning().find("; MCKPT_CRC32C=adler ignored; this CPU can run: ") != std::string::npos);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(EXIT_SUCCESS), "");
}

TEST_F(Environment, IsReadOnce) {
  const auto body = [] {
    set("portable", "portable");
    const bool portable = sha256_kernels().front() == "portable";
    set("", "");
    exit_with(portable && sha256_kernels().front() == "portable");
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(EXIT_SUCCESS), "");
}

}  // namespace
}  // namespace mckpt::digest
