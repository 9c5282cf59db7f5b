#include "thread_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

namespace mckpt {
namespace {

constexpr std::chrono::milliseconds kInterruptPeriod{50};

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): one pool for the process
std::atomic<ThreadPool*> current_pool{nullptr};
thread_local bool this_thread_is_worker = false;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

// The child of a fork has none of the pool's threads, and perhaps a locked mutex: it starts over. The old pool is left
// alone, for nothing in it can be used safely.
void forget_pool() { current_pool.store(nullptr); }
[[maybe_unused]] const int kForkHandler = pthread_atfork(nullptr, nullptr, forget_pool);

// Signals are for the program's own threads, but for those that a thread brings upon itself: blocked, they would end
// the process without their handlers, Python's faulthandler for one.
class BlockedSignals {
 public:
  BlockedSignals() noexcept {
    sigset_t all;
    sigfillset(&all);
    for (const int signal : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP}) sigdelset(&all, signal);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

ThreadPool& ThreadPool::instance() {
  ThreadPool* pool = current_pool.load();
  if (pool != nullptr) return *pool;
  auto fresh = std::make_unique<ThreadPool>();
  if (current_pool.compare_exchange_strong(pool, fresh.get())) return *fresh.release();
  return *pool;
}

bool ThreadPool::is_worker() noexcept { return this_thread_is_worker; }

void ThreadPool::Job::fail(std::size_t index, std::exception_ptr cause) {
  next = count;
  if (error && failed <= index) return;
  error = std::move(cause);
  failed = index;
}

void ThreadPool::run(std::size_t count, std::size_t limit, const InterruptCheck& interrupt, const Block& block) {
  Job job{.block = block, .count = count, .limit = limit};
  std::unique_lock lock(mutex_);
  start_workers(std::min(count, limit));
  if (workers_ == 0) {
    lock.unlock();
    return run_here(count, interrupt, block);
  }
  jobs_.push_back(&job);
  for (std::size_t i = 0; i < std::min(count, limit); ++i) wake_.notify_one();
  while (!job.is_finished())
    if (job.finished.wait_for(lock, kInterruptPeriod) == std::cv_status::timeout) check_interrupt(job, interrupt, lock);
  jobs_.remove(&job);
  if (job.error) std::rethrow_exception(job.error);
}

void ThreadPool::run_here(std::size_t count, const InterruptCheck& interrupt, const Block& block) {
  for (std::size_t i = 0; i < count; ++i) {
    if (interrupt) interrupt();
    block(i);
  }
}

void ThreadPool::check_interrupt(Job& job, const InterruptCheck& interrupt, std::unique_lock<std::mutex>& lock) {
  if (!interrupt) return;
  std::exception_ptr cause;
  lock.unlock();
  try {
    interrupt();
  } catch (...) {
    cause = std::current_exception();
  }
  lock.lock();
  if (cause) job.fail(0, std::move(cause));
}

void ThreadPool::start_workers(std::size_t wanted) {
  const BlockedSignals inherited_by_workers;
  try {
    for (; workers_ < wanted; ++workers_) std::thread([this] { work(); }).detach();
  } catch (const std::system_error&) {  // fewer than wanted will do
    return;
  }
}

void ThreadPool::work() {
  this_thread_is_worker = true;
  pthread_setname_np(pthread_self(), "mckpt");
  std::unique_lock lock(mutex_);
  for (;;) {
    if (Job* job = take_turn())
      run_block(*job, lock);
    else
      wake_.wait(lock);
  }
}

ThreadPool::Job* ThreadPool::take_turn() {
  const auto turn = std::ranges::find_if(jobs_, [](const Job* job) { return job->can_run(); });
  if (turn == jobs_.end()) return nullptr;
  jobs_.splice(jobs_.end(), jobs_, turn);
  return jobs_.back();
}

void ThreadPool::run_block(Job& job, std::unique_lock<std::mutex>& lock) {
  const std::size_t index = job.next++;
  ++job.running;
  std::exception_ptr error;
  lock.unlock();
  try {
    job.block(index);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  --job.running;
  if (error) job.fail(index, std::move(error));
  if (job.is_finished()) job.finished.notify_one();
}

}  // namespace mckpt
