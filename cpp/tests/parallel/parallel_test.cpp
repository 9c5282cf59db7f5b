#include "mckpt/parallel.hpp"

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;
using namespace std::chrono_literals;

class ParallelTest : public ::testing::Test {
 protected:
  void SetUp() override { set_threads(4); }
  void TearDown() override { set_threads(before_); }
  std::size_t before_ = get_threads();
};

TEST_F(ParallelTest, RunsEveryBlockOnce) {
  std::vector<std::atomic<int>> runs(1000);
  parallel_blocks(runs.size(), WorkKind::kCompute, {}, [&](std::size_t i) { ++runs[i]; });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
}

TEST_F(ParallelTest, DoesNothingForNoBlocks) {
  parallel_blocks(0, WorkKind::kCompute, {}, [](std::size_t) { FAIL(); });
}

TEST_F(ParallelTest, RunsASingleBlockOnTheCallingThread) {
  std::thread::id worker;
  parallel_blocks(1, WorkKind::kCompute, {}, [&](std::size_t) { worker = std::this_thread::get_id(); });
  EXPECT_EQ(worker, std::this_thread::get_id());
}

// Counts itself while it lives.
class Count {
 public:
  explicit Count(std::atomic<std::size_t>& counter) : counter_(counter), now_(++counter) {}
  ~Count() { --counter_; }
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;

  [[nodiscard]] std::size_t now() const { return now_; }

 private:
  std::atomic<std::size_t>& counter_;
  std::size_t now_;
};

// The most blocks of a call that ran at the same time.
std::size_t most_at_once(WorkKind kind, std::size_t threads) {
  std::atomic<std::size_t> running{0};
  std::atomic<std::size_t> most{0};
  parallel_blocks(60, kind, {.threads = threads}, [&](std::size_t) {
    const Count count(running);
    std::size_t seen = most;
    while (seen < count.now() && !most.compare_exchange_weak(seen, count.now())) {
    }
    std::this_thread::sleep_for(1ms);
  });
  return most;
}

TEST_F(ParallelTest, StaysInTheBudget) {
  EXPECT_LE(most_at_once(WorkKind::kCompute, 0), 4U);
  EXPECT_LE(most_at_once(WorkKind::kDevice, 0), 4U + kDeviceWorkers);
  EXPECT_GT(most_at_once(WorkKind::kDevice, 0), 4U);
  EXPECT_EQ(most_at_once(WorkKind::kDevice, 1), 1U);
  EXPECT_LE(most_at_once(WorkKind::kCompute, 100), 4U);
  set_threads(2);
  EXPECT_LE(most_at_once(WorkKind::kCompute, 0), 2U);
}

TEST_F(ParallelTest, ThrowsTheErrorOfTheLowestBlockAndBeginsNoMore) {
  std::atomic<std::size_t> running{0};
  std::atomic<std::size_t> runs{0};
  const Error error = error_of([&] {
    parallel_blocks(100'000, WorkKind::kCompute, {}, [&](std::size_t i) {
      const Count count(running);
      ++runs;
      if (i == 3) std::this_thread::sleep_for(5ms);  // fails after all others have
      if (i >= 3) throw Error(ErrorCode::kCorrupt, "a block failed", {.offset = static_cast<std::int64_t>(i)});
    });
  });
  EXPECT_EQ(error.context().offset, 3);
  EXPECT_EQ(running, 0U) << "a block ran when the call had returned";
  EXPECT_LE(runs, 8U);
}

TEST_F(ParallelTest, AsksTheInterruptCheckOnTheCallingThread) {
  std::atomic<int> checks{0};
  const auto caller = std::this_thread::get_id();
  const WorkOptions options{.interrupt = [&] {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    ++checks;
  }};
  parallel_blocks(40, WorkKind::kCompute, options, [](std::size_t) { std::this_thread::sleep_for(20ms); });
  EXPECT_GE(checks, 1);
}

TEST_F(ParallelTest, StopsWhenTheInterruptCheckThrows) {
  std::atomic<std::size_t> running{0};
  std::atomic<std::size_t> runs{0};
  const WorkOptions options{.interrupt = [] { throw std::logic_error("stop"); }};
  EXPECT_THROW(parallel_blocks(100'000, WorkKind::kDevice, options,
                               [&](std::size_t) {
                                 const Count count(running);
                                 ++runs;
                                 std::this_thread::sleep_for(1ms);
                               }),
               std::logic_error);
  EXPECT_EQ(running, 0U);
  EXPECT_LT(runs, 10'000U);
}

TEST_F(ParallelTest, SharesTheWorkersBetweenCallsBlockByBlock) {
  set_threads(1);
  std::atomic<bool> is_long_done{false};
  std::thread long_call([&] {
    parallel_blocks(400, WorkKind::kCompute, {}, [](std::size_t) { std::this_thread::sleep_for(1ms); });
    is_long_done = true;
  });
  std::this_thread::sleep_for(5ms);
  parallel_blocks(4, WorkKind::kCompute, {}, [](std::size_t) {});
  EXPECT_FALSE(is_long_done) << "the short call waited for the long one";
  long_call.join();
}

TEST_F(ParallelTest, TakesManyConcurrentCallsSomeOfWhichFail) {
  std::atomic<std::size_t> sum{0};
  std::atomic<int> failures{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 50; ++round) try {
          parallel_blocks(20, caller % 2 == 0 ? WorkKind::kCompute : WorkKind::kDevice, {}, [&](std::size_t i) {
            if (caller == 7 && i == 10) throw std::runtime_error("of this caller only");
            if (caller != 7) sum += i;
          });
        } catch (const std::runtime_error&) {
          ++failures;
        }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 7U * 50U * 190U);
  EXPECT_EQ(failures, 50);
}

// The outer call has all workers that any test here starts, so that none is left for the inner ones.
TEST_F(ParallelTest, RunsACallOfABlockWithoutWaitingForWorkers) {
  std::atomic<std::size_t> runs{0};
  parallel_blocks(40, WorkKind::kDevice, {}, [&](std::size_t) {
    std::this_thread::sleep_for(1ms);
    parallel_blocks(10, WorkKind::kCompute, {}, [&](std::size_t) { ++runs; });
  });
  EXPECT_EQ(runs, 400U);
}

TEST_F(ParallelTest, RefusesAnEmptyBudget) {
  EXPECT_EQ(error_of([] { set_threads(0); }).code(), ErrorCode::kArgument);
  EXPECT_EQ(get_threads(), 4U);
}

}  // namespace
}  // namespace mckpt
