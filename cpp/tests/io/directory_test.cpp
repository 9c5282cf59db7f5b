#include <cerrno>
#include <utility>

#include "mckpt/file.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

TEST(RenameNoreplace, MovesFilesAndDirectories) {
  const TempDirectory directory;
  const TempFile file(directory / "a");
  EXPECT_TRUE(rename_noreplace(directory / "a", directory / "b"));
  EXPECT_FALSE(exists(directory / "a"));
  EXPECT_TRUE(exists(directory / "b"));
  ASSERT_EQ(mkdir((directory / "d").c_str(), 0700), 0);
  EXPECT_TRUE(rename_noreplace(directory / "d", directory / "e"));
  EXPECT_TRUE(exists(directory / "e"));
}

TEST(RenameNoreplace, LeavesAnExistingTargetAlone) {
  const TempDirectory directory;
  const TempFile source(directory / "a");
  const TempFile target(directory / "b");
  write_all(target.ref(), random_bytes(10, 1), 0);
  const Error error = error_of([&] { static_cast<void>(rename_noreplace(directory / "a", directory / "b")); });
  EXPECT_EQ(error.code(), ErrorCode::kExists);
  EXPECT_EQ(error.context().path, directory / "b");
  EXPECT_TRUE(exists(directory / "a"));
  EXPECT_EQ(TempFile(directory / "b").content(), random_bytes(10, 1));
}

TEST(RenameNoreplace, LeavesAnEmptyDirectoryAlone) {
  const TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "a").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((directory / "b").c_str(), 0700), 0);
  const Error error = error_of([&] { static_cast<void>(rename_noreplace(directory / "a", directory / "b")); });
  EXPECT_EQ(error.code(), ErrorCode::kExists);
}

TEST(RenameNoreplace, ReportsAMissingSource) {
  const TempDirectory directory;
  const Error error = error_of([&] { static_cast<void>(rename_noreplace(directory / "a", directory / "b")); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().system_errno, ENOENT);
  EXPECT_EQ(error.context().path, directory / "a");
}

// renameat2 answers EINVAL, as where the file system lacks RENAME_NOREPLACE, and so does rename.
TEST(RenameNoreplace, ReportsWhatNoRenameCanDo) {
  const TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "a").c_str(), 0700), 0);
  const Error error = error_of([&] { static_cast<void>(rename_noreplace(directory / "a", directory / "a/b")); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.context().system_errno, EINVAL);
}

TEST(RenameNoreplace, IsNotLedElsewhereByALink) {
  const TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "real").c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", (directory / "link").c_str()), 0);
  const TempFile file(directory / "real/a");
  for (const auto& [from, to] : {std::pair("link/a", "b"), std::pair("real/a", "link/b")}) {
    const Error error = error_of([&] { static_cast<void>(rename_noreplace(directory / from, directory / to)); });
    EXPECT_EQ(error.context().system_errno, ELOOP);
  }
  EXPECT_TRUE(exists(directory / "real/a"));
  EXPECT_TRUE(rename_noreplace(directory / "link", directory / "moved"));  // the link itself
}

TEST(OpenDirectory, AcceptsNoLinkAnywhereInThePath) {
  const TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "real").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((directory / "real/below").c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", (directory / "link").c_str()), 0);
  const TempFile file(directory / "file");
  for (const bool readable : {false, true}) {
    const int fd = open_directory(directory / "real//below/", readable);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    for (const auto& [path, code] :
         {std::pair("link", ELOOP), std::pair("link/below", ELOOP), std::pair("file", ENOTDIR),
          std::pair("file/below", ENOTDIR), std::pair("missing", ENOENT)}) {
      const Error error = error_of([&] { static_cast<void>(open_directory(directory / path, readable)); });
      EXPECT_EQ(error.context().system_errno, code) << path;
    }
  }
}

TEST(SyncDirectory, SyncsDirectoriesOnly) {
  const TempDirectory directory;
  sync_directory(directory.path());
  EXPECT_EQ(error_of([&] { sync_directory(directory / "missing"); }).context().system_errno, ENOENT);
  const TempFile file(directory / "file");
  EXPECT_EQ(error_of([&] { sync_directory(directory / "file"); }).context().system_errno, ENOTDIR);
}

}  // namespace
}  // namespace mckpt
