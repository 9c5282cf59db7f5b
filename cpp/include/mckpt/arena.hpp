// Anonymous memory for large buffers.
#pragma once

#include <cstddef>
#include <span>

namespace mckpt {

// Zeroed, page-aligned memory of at least one page; huge pages are asked for, and it starts on one if it can hold one.
// Pages take up memory when they are first touched. Movable; the bytes stay where they are.
class Arena {
 public:
  // Throws std::bad_alloc.
  explicit Arena(std::size_t size);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

  // Leaves the memory out of children: a fork copies none of it, and the child must not touch it.
  void exclude_from_fork() const noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Asks for huge pages, or for small ones, on the whole pages inside `bytes`, which should not have been touched yet.
// Only advice: never fails.
void advise_huge_pages(std::span<std::byte> bytes) noexcept;
void advise_small_pages(std::span<std::byte> bytes) noexcept;

// Makes the pages that `bytes` lie on present and writable, at half the price of a fault at each. Returns false, where
// the kernel cannot (before Linux 5.14) or the memory is of a special kind; they then fault when they are written.
bool populate_pages(std::span<std::byte> bytes) noexcept;

// Whether the page that holds `*byte` is present.
[[nodiscard]] bool is_page_present(const std::byte* byte) noexcept;

}  // namespace mckpt
