// Work in blocks on the process-wide thread pool.
//
// The pool starts its threads when they are first needed and keeps them. It survives fork(): the child begins with an
// empty pool and the parent's budget. Everything here may be called from any number of threads at once.
#pragma once

#include <cstddef>
#include <functional>

namespace mckpt {

// Called by the thread that waits for a call, every 50 ms, with no lock held. An exception from it stops the call and
// leaves it unchanged. May be empty.
using InterruptCheck = std::function<void()>;

struct WorkOptions {
  // Most workers for this call; 0: as many as the budget allows.
  std::size_t threads = 0;
  InterruptCheck interrupt = {};
};

// What a block spends its time on. Workers that wait for the device use no CPU, so a call that moves bytes by direct
// I/O may keep kDeviceWorkers more of them busy than the budget of threads says.
enum class WorkKind { kCompute, kDevice };
inline constexpr std::size_t kDeviceWorkers = 4;

// The budget of threads: MCKPT_THREADS, or else the CPUs that the process may use, at least 2 and at most 16.
// set_threads raises kArgument for 0; get_threads does for an MCKPT_THREADS that is no positive number.
void set_threads(std::size_t count);
[[nodiscard]] std::size_t get_threads();

// Runs block(0) ... block(count - 1) on the pool and returns when all have run.
//
// After an exception, of a block or of the interrupt check, no further block begins, and it is thrown here when those
// that were running have returned. Of several blocks that fail, the lowest one's exception is thrown, whatever the
// number of workers. Concurrent calls share the workers block by block. A single block,
// every block of a call made by a block, and every block where the system has no thread left, runs on the calling
// thread.
void parallel_blocks(std::size_t count, WorkKind kind, const WorkOptions& options,
                     const std::function<void(std::size_t)>& block);

}  // namespace mckpt
