// Buffers for bytes that cannot go straight between the caller's memory and the device.
//
// The process-wide pool keeps its buffers for reuse and survives fork(): the child begins with none of them. Everything
// here may be called from any number of threads at once, by a thread that holds no other buffer.
#pragma once

#include <cstddef>
#include <span>

#include "mckpt/arena.hpp"

namespace mckpt {

// A block of a file, and the slack that rounding its ends to device sectors takes.
inline constexpr std::size_t kBlockBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kStagingSlackBytes = 2 * 4096;

// One buffer of kBlockBytes + kStagingSlackBytes, page-aligned, in huge pages, contents undefined. Goes back to the
// pool when it is destroyed.
class StagingBuffer {
 public:
  // Waits while the budget is in use. Throws std::bad_alloc.
  StagingBuffer();
  ~StagingBuffer();
  StagingBuffer(const StagingBuffer&) = delete;
  StagingBuffer& operator=(const StagingBuffer&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return arena_.bytes(); }

 private:
  Arena arena_;
};

// The budget: MCKPT_STAGING_BYTES, or else 32 MiB. It is counted in whole blocks, and one buffer is always allowed.
// Lowering it frees idle buffers at once. get_staging_bytes raises kArgument for an MCKPT_STAGING_BYTES that is no
// positive number.
void set_staging_bytes(std::size_t bytes);
[[nodiscard]] std::size_t get_staging_bytes();

}  // namespace mckpt
