// The threads behind parallel_blocks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <mutex>

#include "mckpt/parallel.hpp"

namespace mckpt {

// One mutex guards everything: a block takes about a millisecond, so taking the next one costs nothing, and which block
// of which call runs next is decided in one place.
class ThreadPool {
 public:
  using Block = std::function<void(std::size_t)>;

  // The pool of this process. Never destroyed: its threads may outlive static objects.
  static ThreadPool& instance();

  // Whether the calling thread belongs to a pool.
  static bool is_worker() noexcept;

  // See parallel_blocks. Not for workers: they would wait for each other.
  void run(std::size_t count, std::size_t limit, const InterruptCheck& interrupt, const Block& block);

 private:
  struct Job {  // lives on the stack of the thread that waits for it
    const Block& block;
    std::size_t count;
    std::size_t limit;
    std::size_t next = 0;
    std::size_t running = 0;
    std::exception_ptr error = nullptr;
    std::size_t failed = 0;  // the block that `error` is of
    std::condition_variable finished = {};

    [[nodiscard]] bool can_run() const { return next < count && running < limit; }
    [[nodiscard]] bool is_finished() const { return next == count && running == 0; }
    // Begins no more blocks. Blocks begin in order, so the lowest one that fails is always among those that ran.
    void fail(std::size_t index, std::exception_ptr cause);
  };

  // Starts as many as the system has threads for, perhaps none.
  void start_workers(std::size_t wanted);
  // For a system that has no threads left.
  static void run_here(std::size_t count, const InterruptCheck& interrupt, const Block& block);
  void work();
  Job* take_turn();
  static void run_block(Job& job, std::unique_lock<std::mutex>& lock);
  static void check_interrupt(Job& job, const InterruptCheck& interrupt, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Job*> jobs_;  // in the order of their turns
  std::size_t workers_ = 0;
};

}  // namespace mckpt
