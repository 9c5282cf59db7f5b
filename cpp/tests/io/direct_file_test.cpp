#include <algorithm>

#include "mckpt/arena.hpp"
#include "mckpt/file.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::size_t kPage = 4096;

class DirectFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!direct_ || !reading_) GTEST_SKIP() << "no O_DIRECT in " << directory_.path();
  }

  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  std::optional<DirectFile> direct_ = DirectFile::open(file_.ref(), DirectFile::Access::kWrite);
  std::optional<DirectFile> reading_ = DirectFile::open(file_.ref(), DirectFile::Access::kRead);
  Arena memory_{16 * kPage};
};

TEST_F(DirectFileTest, DemandsAtMostAPage) {
  EXPECT_EQ(kPage % direct_->memory_alignment(), 0U);
  EXPECT_EQ(kPage % direct_->offset_alignment(), 0U);
}

TEST_F(DirectFileTest, SharesItsBytesWithTheFile) {
  const auto bytes = random_bytes(2 * kPage, 1);
  std::ranges::copy(bytes, memory_.bytes().begin());
  ASSERT_TRUE(direct_->write(memory_.bytes().first(2 * kPage), kPage));
  auto content = file_.content();
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(content).subspan(kPage)));

  std::size_t done = 0;
  ASSERT_TRUE(reading_->read(memory_.bytes().subspan(4 * kPage, 2 * kPage), kPage, done));
  EXPECT_EQ(done, 2 * kPage);
  EXPECT_TRUE(std::ranges::equal(bytes, memory_.bytes().subspan(4 * kPage, 2 * kPage)));
}

TEST_F(DirectFileTest, StopsAtTheEndOfTheFile) {
  write_all(file_.ref(), random_bytes(kPage + 100, 1), 0);
  std::size_t done = 0;
  ASSERT_TRUE(reading_->read(memory_.bytes(), 0, done));
  EXPECT_EQ(done, kPage + 100);
  ASSERT_TRUE(reading_->read(memory_.bytes(), 8 * kPage, done));
  EXPECT_EQ(done, 0U);
}

TEST_F(DirectFileTest, TellsThatTheFileSystemRefusedUnalignedMemory) {
  if (direct_->memory_alignment() == 1) GTEST_SKIP() << "nothing is unaligned here";
  write_all(file_.ref(), random_bytes(4 * kPage, 1), 0);
  std::size_t done = 0;
  if (reading_->read(memory_.bytes().subspan(1, kPage), 0, done)) GTEST_SKIP() << "unaligned memory is taken here";
  EXPECT_FALSE(direct_->write(memory_.bytes().subspan(1, kPage), 0));
}

TEST_F(DirectFileTest, IsNotHadForADescriptorThatMayNotWrite) {
  const FileRef bad{-1, "nowhere"};
  EXPECT_FALSE(DirectFile::open(bad, DirectFile::Access::kWrite));
}

TEST(DirectRefused, NamesTheFile) {
  const Error error = error_of([] { throw_direct_refused({3, "somewhere"}); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().path, "somewhere");
}

}  // namespace
}  // namespace mckpt
