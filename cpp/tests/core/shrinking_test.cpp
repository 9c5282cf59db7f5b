// Files that shrink while they are mapped and worked on.
#include <atomic>
#include <optional>
#include <thread>

#include "mckpt/chunk_table.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/reader.hpp"
#include "mckpt/staging.hpp"
#include "mckpt/writer.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::size_t kSize = 3 * kBlockBytes;
constexpr std::size_t kKept = kBlockBytes + 100;  // in the middle of a page

// A mapping of a file that is shorter than it was.
class ShrinkingTest : public ::testing::Test {
 protected:
  ShrinkingTest() {
    write_all(file_.ref(), content_, 0);
    table_ = digest_chunks(std::vector<bytes_view>{content_});
    mapping_.emplace(file_.ref(), kSize);
  }

  void shrink() const { EXPECT_EQ(ftruncate(file_.ref().fd, kKept), 0); }
  [[nodiscard]] bytes_view mapped() const { return mapping_->bytes(); }
  [[nodiscard]] std::vector<FileSpan> spans() const { return {{0, kSize, nullptr, 0, "tensor"}}; }

  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  Bytes content_ = random_bytes(kSize, 1);
  std::vector<std::byte> table_;
  std::optional<MappedFile> mapping_;
};

void expect_shrunk(const Error& error) {
  EXPECT_EQ(error.code(), ErrorCode::kTruncated) << error.what();
  EXPECT_NE(std::string(error.what()).find("shr"), std::string::npos) << error.what();
}

TEST_F(ShrinkingTest, IsReportedByEveryLoopOverMemory) {
  shrink();
  const TempFile target(directory_ / "target");
  Bytes dest(kSize);
  const std::vector<bytes_view> sources{content_, mapped()};
  const std::vector<bytes_view> lost{mapped()};
  const std::vector<std::uint64_t> offsets{0};
  expect_shrunk(error_of([&] { static_cast<void>(digest_chunks(sources)); }));
  expect_shrunk(error_of([&] { copy_buffers(dest, offsets, lost); }));
  expect_shrunk(error_of([&] { copy_each(std::vector<std::span<std::byte>>{dest}, lost); }));
  const Error error = error_of([&] {
    static_cast<void>(write_segments(target.ref(), std::vector<Segment>{{content_, "a"}, {mapped(), "b"}}, 4096));
  });
  expect_shrunk(error);
  EXPECT_EQ(error.context().tensor, "b");
}

TEST_F(ShrinkingTest, IsReportedForADestination) {
  const std::vector<std::span<std::byte>> dests{{mapping_->bytes().data(), kSize}};
  shrink();
  expect_shrunk(error_of([&] { copy_each(dests, std::vector<bytes_view>{content_}); }));
}

TEST_F(ShrinkingTest, IsReportedByTheVerificationOfAMapping) {
  for (const Check check : {Check::kSha256, Check::kCrc32c}) {
    verify_mapping(*mapping_, "file", spans(), {.table = table_, .check = check});
  }
  shrink();
  for (const Check check : {Check::kSha256, Check::kCrc32c}) {
    const Error error =
        error_of([&] { verify_mapping(*mapping_, "file", spans(), {.table = table_, .check = check}); });
    EXPECT_TRUE(error.code() == ErrorCode::kTruncated || error.code() == ErrorCode::kCorrupt);
    EXPECT_EQ(error.context().path, "file");
    EXPECT_EQ(error.context().tensor, "tensor");
  }
}

// The file loses its bytes again and again, at whatever moment, and gets them back.
TEST_F(ShrinkingTest, NeverEndsTheProcessNorPassesZeros) {
  std::atomic<bool> is_over{false};
  std::thread shrinker([&] {
    std::mt19937_64 chance(1);
    while (!is_over) {
      const std::uint64_t kept = chance() % kSize / 4096 * 4096;
      if (ftruncate(file_.ref().fd, static_cast<off_t>(kept)) != 0) return;
      write_all(file_.ref(), std::span(content_).subspan(kept), kept);
    }
  });
  int caught = 0;
  for (int round = 0; round < 100; ++round) {
    try {
      verify_mapping(*mapping_, "file", spans(), {.table = table_});
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kTruncated || error.code() == ErrorCode::kCorrupt) << error.what();
      ++caught;
    }
  }
  is_over = true;
  shrinker.join();
  EXPECT_GT(caught, 0);
}

}  // namespace
}  // namespace mckpt
