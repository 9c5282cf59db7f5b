#include "io/prefaulter.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "mckpt/arena.hpp"

namespace mckpt {
namespace {

using std::chrono::nanoseconds;

const auto kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
constexpr std::size_t kMiB = 1024 * 1024;

std::size_t present_pages(std::span<std::byte> bytes) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < bytes.size(); at += kPage) count += is_page_present(&bytes[at]) ? 1 : 0;
  return count;
}

TEST(PopulatePages, MakesEveryPageThatBytesLieOnPresentAndNoOther) {
  const Arena arena(8 * kPage);
  EXPECT_EQ(present_pages(arena.bytes()), 0U);
  if (!populate_pages(arena.bytes().subspan(kPage + 100, 2 * kPage))) GTEST_SKIP() << "needs Linux 5.14";
  EXPECT_EQ(present_pages(arena.bytes()), 3U);
  EXPECT_TRUE(is_page_present(&arena.bytes()[kPage]));
  EXPECT_TRUE(is_page_present(&arena.bytes()[4 * kPage - 1]));
}

TEST(PopulatePages, ChangesNoByte) {
  const Arena arena(4 * kPage);
  arena.bytes()[kPage] = std::byte{7};
  populate_pages(arena.bytes());
  EXPECT_EQ(arena.bytes()[kPage], std::byte{7});
  EXPECT_EQ(arena.bytes()[2 * kPage], std::byte{0});
}

TEST(Prefaulter, PreparesTheRangeItIsGiven) {
  const Arena arena(kMiB);
  if (!populate_pages(arena.bytes().first(1))) GTEST_SKIP() << "needs Linux 5.14";
  Prefaulter prefaulter({arena.bytes()});
  prefaulter.prepare(arena.bytes().subspan(kMiB / 2 + 1, kMiB / 4));
  EXPECT_EQ(present_pages(arena.bytes().first(kMiB / 2)), 1U);
  EXPECT_EQ(present_pages(arena.bytes().subspan(kMiB / 2, kMiB / 4)), kMiB / 4 / kPage);
}

TEST(Prefaulter, LeavesALittleToTheFaults) {
  const Arena arena(kMiB);
  Prefaulter prefaulter({arena.bytes()});
  prefaulter.prepare(arena.bytes().first(Prefaulter::kMinBytes - 1));
  EXPECT_EQ(present_pages(arena.bytes()), 0U);
}

TEST(Prefaulter, PreparesLargeDestinationsToTheirLastByte) {
  const Arena arena(80 * kMiB + 5);
  Prefaulter prefaulter({arena.bytes().subspan(3)});
  for (std::size_t at = 3; at < arena.bytes().size(); at += kMiB)
    prefaulter.prepare(arena.bytes().subspan(at, std::min(kMiB, arena.bytes().size() - at)));
  std::ranges::fill(arena.bytes(), std::byte{1});
  EXPECT_EQ(present_pages(arena.bytes()), arena.bytes().size() / kPage + 1);
}

TEST(HugePageTrial, IsWonWhileAByteIsCheaperThanInSmallPages) {
  HugePageTrial trial(1.0);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(trial.is_lost_after(2 * kMiB, nanoseconds(kMiB)));
  EXPECT_FALSE(trial.is_lost());
}

TEST(HugePageTrial, IsLostOnceWhenTheyAreDearer) {
  HugePageTrial trial(1.0);
  int lost = 0;
  for (int i = 0; i < 100; ++i) lost += trial.is_lost_after(2 * kMiB, nanoseconds(4 * kMiB)) ? 1 : 0;
  EXPECT_EQ(lost, 1);
  EXPECT_TRUE(trial.is_lost());
}

TEST(HugePageTrial, IsNotLostByASingleSlowPage) {
  HugePageTrial trial(1.0);
  EXPECT_FALSE(trial.is_lost_after(2 * kMiB, nanoseconds(10 * kMiB)));
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(trial.is_lost_after(2 * kMiB, nanoseconds(kMiB / 8)));
  EXPECT_FALSE(trial.is_lost());
}

TEST(HugePageTrial, IsLostWhenTheyBecomeDearLater) {
  HugePageTrial trial(1.0);
  for (int i = 0; i < 80; ++i) EXPECT_FALSE(trial.is_lost_after(2 * kMiB, nanoseconds(kMiB)));
  int lost = 0;
  for (int i = 0; i < 8; ++i) lost += trial.is_lost_after(2 * kMiB, nanoseconds(8 * kMiB)) ? 1 : 0;
  EXPECT_EQ(lost, 1);
}

}  // namespace
}  // namespace mckpt
