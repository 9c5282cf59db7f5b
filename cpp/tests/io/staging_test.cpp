#include "mckpt/staging.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;

class StagingTest : public ::testing::Test {
 protected:
  void TearDown() override { set_staging_bytes(before_); }
  std::size_t before_ = get_staging_bytes();
};

TEST_F(StagingTest, GivesAlignedBlocksWithSlack) {
  const StagingBuffer buffer;
  EXPECT_EQ(buffer.bytes().size(), kBlockBytes + kStagingSlackBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.bytes().data()) % 4096, 0U);
  std::ranges::fill(buffer.bytes(), std::byte{1});
}

TEST_F(StagingTest, ReusesItsBuffers) {
  const std::byte* first = nullptr;
  {
    const StagingBuffer buffer;
    first = buffer.bytes().data();
  }
  EXPECT_EQ(StagingBuffer().bytes().data(), first);
}

TEST_F(StagingTest, WaitsWhenTheBudgetIsInUse) {
  set_staging_bytes(1);  // one buffer is always allowed
  auto held = std::make_unique<StagingBuffer>();
  std::atomic<bool> is_served{false};
  std::thread other([&] {
    const StagingBuffer buffer;
    is_served = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(is_served);
  held.reset();
  other.join();
  EXPECT_TRUE(is_served);
}

TEST_F(StagingTest, ServesWaitersWhenTheBudgetGrows) {
  set_staging_bytes(kBlockBytes);
  const StagingBuffer held;
  std::thread other([] { const StagingBuffer buffer; });
  set_staging_bytes(2 * kBlockBytes);
  other.join();
}

TEST_F(StagingTest, RefusesAnEmptyBudget) {
  EXPECT_EQ(error_of([] { set_staging_bytes(0); }).code(), ErrorCode::kArgument);
  EXPECT_EQ(get_staging_bytes(), before_);
}

TEST_F(StagingTest, WorksInAChildThatWasForkedWhileAllBuffersWereTaken) {
  set_staging_bytes(1);
  const auto held = std::make_unique<StagingBuffer>();
  const pid_t child = fork();
  if (child == 0) {
    {
      const StagingBuffer buffer;
      buffer.bytes()[0] = std::byte{1};
    }
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace mckpt
