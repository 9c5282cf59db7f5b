#include "io/cold_read_trial.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <vector>

namespace mckpt {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBlock = 4 * 1024 * 1024;

// Runs a trial in which a direct and a buffered block take these times.
void run(ColdReadTrial& trial, milliseconds direct, milliseconds buffered) {
  for (std::uint64_t i = 0; i < 2 * ColdReadTrial::kBlocksEach; ++i) {
    const bool is_direct = trial.next_is_direct();
    trial.record(is_direct, kBlock, is_direct ? direct : buffered);
  }
}

TEST(ColdReadTrial, GoesBothWaysInTurn) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  std::vector<bool> ways;
  for (int i = 0; i < 4; ++i) ways.push_back(trial.next_is_direct());
  EXPECT_EQ(ways, (std::vector<bool>{true, false, true, false}));
}

TEST(ColdReadTrial, GoesOnDirectlyWhereThatIsFaster) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  run(trial, milliseconds(2), milliseconds(5));
  EXPECT_FALSE(trial.prefers_buffered());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(trial.next_is_direct());
}

TEST(ColdReadTrial, GoesOnThroughThePageCacheWhereThatIsClearlyFaster) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  run(trial, milliseconds(5), milliseconds(2));
  EXPECT_TRUE(trial.prefers_buffered());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(trial.next_is_direct());
}

TEST(ColdReadTrial, SparesThePageCacheForASmallGain) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  run(trial, milliseconds(10), milliseconds(8));
  EXPECT_FALSE(trial.prefers_buffered());
}

TEST(ColdReadTrial, IsDirectUntilTheLastBlockOfTheTrialHasEnded) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  for (std::uint64_t i = 0; i < 2 * ColdReadTrial::kBlocksEach; ++i) (void)trial.next_is_direct();
  EXPECT_TRUE(trial.next_is_direct());
  EXPECT_TRUE(trial.next_is_direct());
}

TEST(ColdReadTrial, ComparesWhatAByteCosts) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes);
  for (std::uint64_t i = 0; i < 2 * ColdReadTrial::kBlocksEach; ++i) {
    const bool is_direct = trial.next_is_direct();
    trial.record(is_direct, is_direct ? kBlock : kBlock / 8, milliseconds(is_direct ? 8 : 2));
  }
  EXPECT_FALSE(trial.prefers_buffered());
}

TEST(ColdReadTrial, IsNotWorthItForAShortRead) {
  ColdReadTrial trial(ColdReadTrial::kMinBytes - 1);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(trial.next_is_direct());
  trial.record(true, kBlock, milliseconds(1000));
  EXPECT_FALSE(trial.prefers_buffered());
}

}  // namespace
}  // namespace mckpt
