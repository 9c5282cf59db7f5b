#include "mckpt/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace mckpt {
namespace {

constexpr std::size_t kHugePageBytes = 2 * 1024 * 1024;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t round_up(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

std::size_t mapped_bytes(std::size_t size) { return round_up(std::max<std::size_t>(size, 1), page_bytes()); }

std::byte* map_anonymous(std::size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(data);
}

// Maps more than needed and gives back what lies outside of an aligned part.
std::byte* map_aligned(std::size_t size) {
  std::byte* begin = map_anonymous(size + kHugePageBytes);
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes;
  if (head != 0) munmap(begin, head);
  munmap(begin + head + size, kHugePageBytes - head);
  return begin + head;
}

// Advice on the whole pages inside `bytes`.
void advise_inside(std::span<std::byte> bytes, int advice) noexcept {
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(bytes.data()) % page_bytes();
  if (head >= bytes.size()) return;
  const std::size_t pages = (bytes.size() - head) / page_bytes() * page_bytes();
  if (pages != 0) madvise(bytes.data() + head, pages, advice);
}

}  // namespace

Arena::Arena(std::size_t size) : size_(size) {
  if (size > SIZE_MAX / 2) throw std::bad_alloc();
  const std::size_t mapped = mapped_bytes(size);
  data_ = mapped < kHugePageBytes ? map_anonymous(mapped) : map_aligned(mapped);
  advise_huge_pages({data_, mapped});
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, mapped_bytes(size_));
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void Arena::exclude_from_fork() const noexcept { madvise(data_, mapped_bytes(size_), MADV_DONTFORK); }

void advise_huge_pages(std::span<std::byte> bytes) noexcept { advise_inside(bytes, MADV_HUGEPAGE); }

void advise_small_pages(std::span<std::byte> bytes) noexcept { advise_inside(bytes, MADV_NOHUGEPAGE); }

bool populate_pages(std::span<std::byte> bytes) noexcept {
  const std::size_t head = reinterpret_cast<std::uintptr_t>(bytes.data()) % page_bytes();
  return madvise(bytes.data() - head, round_up(head + bytes.size(), page_bytes()), kPopulateWrite) == 0;
}

bool is_page_present(const std::byte* byte) noexcept {
  auto* const page = const_cast<std::byte*>(byte - reinterpret_cast<std::uintptr_t>(byte) % page_bytes());
  unsigned char residency = 0;
  return mincore(page, 1, &residency) == 0 && (residency & 1U) != 0;
}

}  // namespace mckpt
