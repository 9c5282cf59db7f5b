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

// Asks for huge pages on the whole pages inside `bytes`, which should not have been touched yet. A fresh 4 KiB page
// costs several times as much as the copy into it. Only advice: never fails.
void advise_huge_pages(std::span<std::byte> bytes) noexcept;

}  // namespace mckpt
