// What the workers of one call spent their time on.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

namespace mckpt {

enum class Stage : std::size_t {
  kRead,    // system calls that read, page faults of mappings included
  kWrite,   // system calls that write, and the allocation of the file
  kHash,    // digests and checksums
  kCopy,    // from memory to memory, or between memory and a device
  kMemory,  // making the pages of a destination present
  kWait,    // for staging or page-locked buffers
};
inline constexpr std::size_t kStageCount = 6;

// Time summed over all workers: two that hash for a second each make two seconds. It passes on the wall, not on the
// CPU, so that workers who share a CPU all count what they wait for it.
struct StageTimes {
  std::array<std::chrono::nanoseconds, kStageCount> by_stage{};

  [[nodiscard]] std::chrono::nanoseconds operator[](Stage stage) const noexcept {
    return by_stage[static_cast<std::size_t>(stage)];
  }
};

}  // namespace mckpt
