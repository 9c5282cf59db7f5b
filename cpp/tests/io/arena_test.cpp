#include "mckpt/arena.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace mckpt {
namespace {

constexpr std::size_t kHugePage = 2 * 1024 * 1024;

std::uintptr_t address(const Arena& arena) { return reinterpret_cast<std::uintptr_t>(arena.bytes().data()); }

TEST(Arena, IsZeroedAndWritableToItsLastByte) {
  const Arena arena(3 * kHugePage + 5);
  const auto bytes = arena.bytes();
  EXPECT_EQ(bytes.size(), 3 * kHugePage + 5);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  std::ranges::fill(bytes, std::byte{7});
  EXPECT_EQ(bytes.back(), std::byte{7});
}

TEST(Arena, StartsOnAHugePageIfItCanHoldOne) {
  EXPECT_EQ(address(Arena(kHugePage)) % kHugePage, 0U);
  EXPECT_EQ(address(Arena(5 * kHugePage + 1)) % kHugePage, 0U);
  EXPECT_EQ(address(Arena(1)) % 4096, 0U);
}

TEST(Arena, MayBeEmpty) { EXPECT_TRUE(Arena(0).bytes().empty()); }

TEST(Arena, RefusesWhatDoesNotFitTheAddressSpace) {
  EXPECT_THROW(Arena(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(Arena(SIZE_MAX / 4), std::bad_alloc);
}

TEST(Arena, KeepsItsAddressWhenMoved) {
  Arena a(kHugePage);
  a.bytes()[1] = std::byte{9};
  const std::uintptr_t before = address(a);
  Arena b(std::move(a));
  EXPECT_EQ(address(b), before);
  Arena c(10);
  c = std::move(b);
  EXPECT_EQ(address(c), before);
  EXPECT_EQ(c.bytes()[1], std::byte{9});
}

TEST(Arena, IsMissingFromChildrenIfExcluded) {
  constexpr std::byte kMark{0xA5};
  const Arena arena(kHugePage);
  arena.bytes()[0] = kMark;
  arena.exclude_from_fork();
  const auto is_here = [&] {  // asks the kernel, which answers EFAULT where nothing is mapped
    int ends[2];
    std::byte read_back{};
    return pipe(ends) == 0 && write(ends[1], arena.bytes().data(), 1) == 1 && read(ends[0], &read_back, 1) == 1 &&
           read_back == kMark;
  };
  ASSERT_TRUE(is_here());
  const pid_t child = fork();
  if (child == 0) _exit(is_here() ? 1 : 0);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(AdvisePages, TakesAnyRange) {
  const Arena arena(2 * kHugePage);
  advise_huge_pages({});
  advise_huge_pages(arena.bytes().subspan(1, 10));
  advise_huge_pages(arena.bytes().subspan(1));
  advise_small_pages(arena.bytes().subspan(1));
  EXPECT_EQ(arena.bytes()[1], std::byte{0});
}

}  // namespace
}  // namespace mckpt
