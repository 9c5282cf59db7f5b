#include "mckpt/file.hpp"

#include <cerrno>
#include <functional>

#include "io/transfer.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

class FileTest : public ::testing::Test {
 protected:
  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
};

TEST_F(FileTest, ReadsWhatWasWritten) {
  const Bytes bytes = random_bytes(100'000, 1);
  write_all(file_.ref(), bytes, 77);
  Bytes read(bytes.size());
  read_all(file_.ref(), read, 77);
  EXPECT_EQ(read, bytes);
}

TEST_F(FileTest, KnowsADiskOfThisMachine) {
  EXPECT_TRUE(is_on_local_disk(file_.ref()));
  const TempFile elsewhere("/proc/self/status", O_RDONLY);
  EXPECT_FALSE(is_on_local_disk(elsewhere.ref()));
  EXPECT_FALSE(is_on_local_disk({-1, "closed"}));
}

TEST_F(FileTest, ReportsTheEndThatComesEarly) {
  write_all(file_.ref(), random_bytes(1000, 1), 0);
  Bytes read(600);
  const Error error = error_of([&] { read_all(file_.ref(), read, 500); });
  EXPECT_EQ(error.code(), ErrorCode::kTruncated);
  EXPECT_EQ(error.context().offset, 1000);
  EXPECT_EQ(error.context().path, file_.ref().path);
}

TEST_F(FileTest, ReportsWhereAWriteFailed) {
  const TempFile read_only(file_.ref().path, O_RDONLY);
  const Error error = error_of([&] { write_all(read_only.ref(), random_bytes(10, 1), 4096); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().system_errno, EBADF);
  EXPECT_EQ(error.context().offset, 4096);
}

TEST_F(FileTest, ReportsABadDescriptor) {
  const FileRef bad{-1, "nowhere"};
  Bytes bytes(1);
  for (const auto& work : std::vector<std::function<void()>>{
           [&] { read_all(bad, bytes, 0); }, [&] { preallocate(bad, 1); }, [&] { sync_file(bad); },
           [&] { drop_cache(bad); }, [&] { static_cast<void>(file_size(bad)); }}) {
    const Error error = error_of(work);
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_EQ(error.context().system_errno, EBADF);
    EXPECT_EQ(error.context().path, "nowhere");
  }
}

TEST_F(FileTest, AllocatesTheBlocksAhead) {
  preallocate(file_.ref(), 1'000'000);
  struct stat status{};
  ASSERT_EQ(fstat(file_.ref().fd, &status), 0);
  EXPECT_EQ(status.st_size, 1'000'000);
  EXPECT_GE(status.st_blocks * 512, 1'000'000);
}

TEST_F(FileTest, CutsALongerFile) {
  write_all(file_.ref(), random_bytes(5000, 1), 0);
  preallocate(file_.ref(), 100);
  EXPECT_EQ(file_size(file_.ref()), 100U);
  preallocate(file_.ref(), 0);
  EXPECT_EQ(file_size(file_.ref()), 0U);
}

TEST_F(FileTest, SyncsAndForgets) {
  write_all(file_.ref(), random_bytes(5000, 1), 0);
  sync_file(file_.ref());
  drop_cache(file_.ref());
  advise_read(file_.ref(), 0, 5000);
  EXPECT_EQ(file_.content(), random_bytes(5000, 1));
}

TEST_F(FileTest, EndsADirectReadWithinASector) {
  write_all(file_.ref(), random_bytes(1000, 1), 0);
  Bytes bytes(2048);
  const Transfer transfer = read_fully(file_.ref().fd, bytes, 0, 512);
  EXPECT_EQ(transfer.done, 1000U);
  EXPECT_EQ(transfer.error, 0);
}

}  // namespace
}  // namespace mckpt
