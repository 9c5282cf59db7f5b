#include "mckpt/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "../environment.hpp"
#include "mckpt/error.hpp"
#include "thread_pool.hpp"

namespace mckpt {
namespace {

constexpr std::size_t kMinDefaultThreads = 2;
constexpr std::size_t kMaxDefaultThreads = 16;

std::size_t usable_cpus() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) return kMaxDefaultThreads;  // more CPUs than the set can hold
  return static_cast<std::size_t>(CPU_COUNT(&cpus));
}

std::size_t default_threads() {
  return environment_number("MCKPT_THREADS")
      .value_or(std::clamp(usable_cpus(), kMinDefaultThreads, kMaxDefaultThreads));
}

std::atomic<std::size_t>& thread_budget() {
  static std::atomic<std::size_t> budget{default_threads()};
  return budget;
}

std::size_t worker_limit(WorkKind kind, std::size_t threads) {
  const std::size_t budget = get_threads();
  if (threads != 0) return std::min(threads, budget);
  return kind == WorkKind::kDevice ? budget + kDeviceWorkers : budget;
}

}  // namespace

void set_threads(std::size_t count) {
  if (count == 0) throw Error(ErrorCode::kArgument, "the budget of threads must be at least 1");
  thread_budget().store(count);
}

std::size_t get_threads() { return thread_budget().load(); }

void parallel_blocks(std::size_t count, WorkKind kind, const WorkOptions& options,
                     const std::function<void(std::size_t)>& block) {
  if (count <= 1 || ThreadPool::is_worker()) {
    for (std::size_t i = 0; i < count; ++i) block(i);
    return;
  }
  ThreadPool::instance().run(count, worker_limit(kind, options.threads), options.interrupt, block);
}

}  // namespace mckpt
