#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "mckpt/file.hpp"

namespace mckpt {
namespace {

constexpr std::size_t kPageBytes = 4096;  // a larger page only gets asked about more than once
constexpr std::size_t kPagesPerCall = 1024;

}  // namespace

PageCacheProbe::PageCacheProbe(const FileRef& file, std::uint64_t size) noexcept {
  if (size == 0) return;
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, file.fd, 0);
  if (data == MAP_FAILED) return;
  data_ = static_cast<std::byte*>(data);
  size_ = size;
}

PageCacheProbe::~PageCacheProbe() {
  if (data_ != nullptr) munmap(data_, size_);
}

bool PageCacheProbe::is_cached(std::uint64_t offset, std::size_t length) const noexcept {
  std::array<unsigned char, kPagesPerCall> pages;  // NOLINT(cppcoreguidelines-pro-type-member-init): mincore fills it
  const std::uint64_t end = std::min<std::uint64_t>(offset + length, size_);
  for (std::uint64_t begin = offset / kPageBytes * kPageBytes; begin < end; begin += kPagesPerCall * kPageBytes) {
    const std::size_t bytes = std::min<std::uint64_t>(end - begin, kPagesPerCall * kPageBytes);
    if (mincore(data_ + begin, bytes, pages.data()) != 0) return true;
    const auto count = static_cast<std::ptrdiff_t>((bytes + kPageBytes - 1) / kPageBytes);
    if (!std::all_of(pages.begin(), pages.begin() + count, [](unsigned char page) { return (page & 1U) != 0; }))
      return false;
  }
  return true;
}

}  // namespace mckpt
