// A full disk, on a small tmpfs. Mounting one takes root.
#include <sys/mount.h>

#include <cerrno>

#include "mckpt/writer.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

class DiskFullTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=1m") != 0)
      GTEST_SKIP() << "a file system can only be mounted by root";
    is_mounted_ = true;
  }
  void TearDown() override {
    if (is_mounted_) umount(directory_.path().c_str());
  }

  TempDirectory directory_;
  bool is_mounted_ = false;
};

TEST_F(DiskFullTest, IsFoundBeforeAnyByteIsWritten) {
  const TempFile file(directory_ / "file");
  const Bytes header = random_bytes(100, 1);
  write_all(file.ref(), header, 0);
  const Bytes bytes = random_bytes(2 << 20, 1);
  const Segment segment{bytes, "tensor"};
  const Error error = error_of([&] { static_cast<void>(write_segments(file.ref(), {&segment, 1}, 4096)); });
  EXPECT_EQ(error.code(), ErrorCode::kDiskFull);
  EXPECT_EQ(error.context().system_errno, ENOSPC);
  EXPECT_EQ(error.context().path, file.ref().path);
  EXPECT_EQ(file.content(), header);
}

TEST_F(DiskFullTest, IsReportedByAWriteWithItsOffset) {
  const TempFile file(directory_ / "file");
  const Error error = error_of([&] { write_all(file.ref(), random_bytes(2 << 20, 1), 0); });
  EXPECT_EQ(error.code(), ErrorCode::kDiskFull);
  EXPECT_GT(error.context().offset, 0);
}

}  // namespace
}  // namespace mckpt
