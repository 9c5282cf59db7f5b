#include "mckpt/copier.hpp"

#include <algorithm>

#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::error_of;
using testing::random_bytes;

constexpr std::byte kUntouched{0xEE};

// At the sizes where the copy changes its way, and at all alignments of the destination within a cache line.
TEST(StreamCopy, CopiesExactlyItsBytes) {
  const Bytes source = random_bytes(200'000, 1);
  for (const std::size_t size : {0UL, 1UL, 63UL, 65'535UL, 65'536UL, 65'537UL, 131'072UL + 63})
    for (const std::size_t shift : {0UL, 1UL, 31UL, 63UL, 64UL}) {
      Bytes dest(size + 128, kUntouched);
      stream_copy(dest.data() + shift, std::span(source).subspan(3, size));
      EXPECT_TRUE(std::equal(dest.data() + shift, dest.data() + shift + size, source.data() + 3));
      EXPECT_TRUE(std::all_of(dest.data(), dest.data() + shift, [](std::byte b) { return b == kUntouched; }));
      EXPECT_TRUE(std::all_of(dest.data() + shift + size, dest.data() + dest.size(),
                              [](std::byte b) { return b == kUntouched; }));
    }
}

TEST(CopyBuffers, PutsEachSourceAtItsOffset) {
  std::vector<Bytes> sources;
  for (const std::size_t size : {0UL, 5'000'000UL, 17UL, 2'097'152UL, 0UL, 1UL})
    sources.push_back(random_bytes(size, size));
  for (std::size_t i = 0; i < 5000; ++i) sources.push_back(random_bytes(i % 50, i));
  std::vector<std::uint64_t> offsets;
  std::uint64_t end = 3;
  for (const Bytes& source : sources) {
    offsets.push_back(end);
    end += source.size() + 1;
  }
  Bytes dest(end, kUntouched);
  copy_buffers(dest, offsets, std::vector<bytes_view>(sources.begin(), sources.end()));
  Bytes expected(end, kUntouched);
  for (std::size_t i = 0; i < sources.size(); ++i)
    std::ranges::copy(sources[i], expected.begin() + static_cast<std::ptrdiff_t>(offsets[i]));
  EXPECT_EQ(dest, expected);
}

TEST(CopyBuffers, RefusesWhatDoesNotFitBeforeItCopiesAnything) {
  Bytes dest(10, kUntouched);
  const Bytes source = random_bytes(6, 1);
  const std::vector<bytes_view> sources{source, source};
  for (const std::vector<std::uint64_t>& offsets : {std::vector<std::uint64_t>{0, 5}, {0, UINT64_MAX}, {0}, {0, 1, 2}})
    EXPECT_EQ(error_of([&] { copy_buffers(dest, offsets, sources); }).code(), ErrorCode::kArgument);
  EXPECT_EQ(dest, Bytes(10, kUntouched));
}

}  // namespace
}  // namespace mckpt
