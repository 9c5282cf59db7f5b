#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../environment.hpp"
#include "mckpt/error.hpp"
#include "mckpt/staging.hpp"

namespace mckpt {
namespace {

constexpr std::size_t kDefaultBudgetBytes = 32 * 1024 * 1024;

std::atomic<std::size_t>& staging_budget() {
  static std::atomic<std::size_t> budget{environment_number("MCKPT_STAGING_BYTES").value_or(kDefaultBudgetBytes)};
  return budget;
}

std::size_t buffers_in(std::size_t budget) { return std::max<std::size_t>(budget / kBlockBytes, 1); }

std::size_t allowed_buffers() { return buffers_in(staging_budget().load()); }

class StagingPool {
 public:
  static StagingPool& instance();

  Arena take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [this] { return taken_ < allowed_buffers(); });
    Arena arena = idle_.empty() ? make_arena() : std::move(idle_.back());
    if (!idle_.empty()) idle_.pop_back();
    ++taken_;
    return arena;
  }

  void give_back(Arena arena) noexcept {
    const std::scoped_lock lock(mutex_);
    --taken_;
    if (taken_ + idle_.size() < allowed_buffers()) idle_.push_back(std::move(arena));
    returned_.notify_one();
  }

  // Changes nothing if it throws.
  void set_budget(std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    idle_.reserve(buffers_in(bytes));  // first: from now on, giving back cannot fail
    staging_budget().store(bytes);
    while (!idle_.empty() && taken_ + idle_.size() > allowed_buffers()) idle_.pop_back();
    returned_.notify_all();
  }

 private:
  static Arena make_arena() {
    Arena arena(kBlockBytes + kStagingSlackBytes);
    arena.exclude_from_fork();
    return arena;
  }

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<Arena> idle_;
  std::size_t taken_ = 0;
};

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): one pool for the process
std::atomic<StagingPool*> current_pool{nullptr};

// The child of a fork has none of the buffers, and perhaps a locked mutex: it starts over.
void forget_pool() { current_pool.store(nullptr); }
[[maybe_unused]] const int kForkHandler = pthread_atfork(nullptr, nullptr, forget_pool);

StagingPool& StagingPool::instance() {
  StagingPool* pool = current_pool.load();
  if (pool != nullptr) return *pool;
  auto fresh = std::make_unique<StagingPool>();
  fresh->idle_.reserve(allowed_buffers());
  if (current_pool.compare_exchange_strong(pool, fresh.get())) return *fresh.release();
  return *pool;
}

}  // namespace

StagingBuffer::StagingBuffer() : arena_(StagingPool::instance().take()) {}

StagingBuffer::~StagingBuffer() { StagingPool::instance().give_back(std::move(arena_)); }

void set_staging_bytes(std::size_t bytes) {
  if (bytes == 0) throw Error(ErrorCode::kArgument, "the budget of staging memory must be at least 1 byte");
  StagingPool::instance().set_budget(bytes);
}

std::size_t get_staging_bytes() { return staging_budget().load(); }

}  // namespace mckpt
