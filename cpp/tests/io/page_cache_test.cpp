#include "mckpt/file.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::size_t kSize = 9 * 1024 * 1024 + 5;

TEST(PageCacheProbe, KnowsWhatWasWrittenAndDropped) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  write_all(file.ref(), random_bytes(kSize, 1), 0);
  const PageCacheProbe probe(file.ref(), kSize);
  EXPECT_TRUE(probe.is_cached(0, kSize));
  EXPECT_TRUE(probe.is_cached(kSize - 1, 1));
  sync_file(file.ref());
  drop_cache(file.ref());
  if (probe.is_cached(0, kSize)) GTEST_SKIP() << "this file system keeps its pages";
  testing::Bytes page(4096);
  read_all(file.ref(), page, 0);
  EXPECT_TRUE(probe.is_cached(100, 3000));
  EXPECT_FALSE(probe.is_cached(0, kSize));
}

TEST(PageCacheProbe, CountsWhatItCannotMapAsCached) {
  const TempDirectory directory;
  const TempFile file(directory / "file");
  EXPECT_TRUE(PageCacheProbe(file.ref(), 0).is_cached(0, 10));
  EXPECT_TRUE(PageCacheProbe({-1, "nowhere"}, 4096).is_cached(0, 10));
}

}  // namespace
}  // namespace mckpt
