#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "mckpt/parallel.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

std::size_t count_blocks() {
  std::atomic<std::size_t> runs{0};
  parallel_blocks(50, WorkKind::kCompute, {}, [&](std::size_t) { ++runs; });
  return runs;
}

// ThreadSanitizer does not allow threads in a child of a process that had some.
#if defined(__SANITIZE_THREAD__)
constexpr bool kForksThreads = false;
#else
constexpr bool kForksThreads = true;
#endif

TEST(Fork, GivesTheChildAPoolOfItsOwnEvenInTheMiddleOfACall) {
  if (!kForksThreads) GTEST_SKIP() << "not under ThreadSanitizer";
  std::atomic<bool> is_over{false};
  std::thread busy([&] {
    while (!is_over) count_blocks();
  });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) _exit(count_blocks() == 50 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  is_over = true;
  busy.join();
  EXPECT_EQ(count_blocks(), 50U);
}

TEST(Fork, LeavesTheBudgetAsItWas) {
  const std::size_t before = get_threads();
  set_threads(3);
  const pid_t child = fork();
  if (child == 0) _exit(get_threads() == 3 ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  set_threads(before);
}

}  // namespace
}  // namespace mckpt
