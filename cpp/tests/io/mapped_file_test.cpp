#include <algorithm>

#include "mckpt/file.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

class MappedFileTest : public ::testing::Test {
 protected:
  MappedFileTest() { write_all(file_.ref(), bytes_, 0); }

  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  testing::Bytes bytes_ = random_bytes(3 * 4096 + 5, 1);
};

TEST_F(MappedFileTest, ShowsTheFile) {
  const MappedFile mapping(file_.ref(), bytes_.size());
  mapping.populate(0, bytes_.size(), file_.ref().path);
  mapping.populate(4097, 10, file_.ref().path);
  EXPECT_TRUE(std::ranges::equal(mapping.bytes(), bytes_));
}

TEST_F(MappedFileTest, KeepsWritesToItself) {
  const MappedFile mapping(file_.ref(), bytes_.size());
  std::ranges::fill(mapping.bytes(), std::byte{1});
  EXPECT_EQ(file_.content(), bytes_);
}

TEST_F(MappedFileTest, MayBeEmpty) { EXPECT_TRUE(MappedFile(file_.ref(), 0).bytes().empty()); }

TEST_F(MappedFileTest, RefusesAShorterFile) {
  const Error error = error_of([&] { const MappedFile mapping(file_.ref(), bytes_.size() + 1); });
  EXPECT_EQ(error.code(), ErrorCode::kTruncated);
  EXPECT_EQ(error.context().offset, static_cast<std::int64_t>(bytes_.size()));
}

TEST_F(MappedFileTest, ReportsPagesThatTheFileHasLost) {
  const MappedFile mapping(file_.ref(), bytes_.size());
  ASSERT_EQ(ftruncate(file_.ref().fd, 4096), 0);
  const Error error = error_of([&] { mapping.populate(8192, 4096, file_.ref().path); });
  EXPECT_EQ(error.code(), ErrorCode::kTruncated);
  EXPECT_EQ(error.context().offset, 8192);
}

}  // namespace
}  // namespace mckpt
