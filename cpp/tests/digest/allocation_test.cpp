// Counts the allocations of the whole test program by replacing operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "support.hpp"

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

// Not inlined: GCC would see malloc() and free() without the pair of operators around them, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* const result = std::malloc(size);
  if (result == nullptr) throw std::bad_alloc();
  return result;
}

[[gnu::noinline]] void operator delete(void* address) noexcept { std::free(address); }
[[gnu::noinline]] void operator delete(void* address, std::size_t /*size*/) noexcept { std::free(address); }

namespace mckpt::digest {
namespace {

static_assert(noexcept(chunk_digests({}, {})));
static_assert(noexcept(sha256({})));
static_assert(noexcept(crc32c({}, 0)));

TEST(Allocation, HashingAllocatesNothing) {
  const Bytes data = random_bytes(kChunkBytes, 1);
  std::vector<bytes_view> chunks(100, bytes_view(data).first(100));
  chunks.emplace_back(data);
  std::vector<digest256> digests(chunks.size());
  chunk_digests(chunks, digests);  // the first call decides on the kernels, which allocates

  const std::size_t before = allocations;
  chunk_digests(chunks, digests);
  const digest256 digest = sha256(data);
  const std::uint32_t crc = crc32c(data);
  EXPECT_EQ(allocations, before);
  EXPECT_NE(digest, digest256{});
  EXPECT_NE(crc, 0U);
}

}  // namespace
}  // namespace mckpt::digest
