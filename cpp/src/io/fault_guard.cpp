#include "mckpt/fault_guard.hpp"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <mutex>
#include <new>

namespace mckpt {
namespace {

// A guard's place to return to, and what its thread lost. A thread with a guard has touched these variables before its
// handler does, which therefore never allocates them.
struct Guard {
  sigjmp_buf return_point;
  void* volatile lost;
};

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): a signal has one handler in the process
thread_local Guard* volatile current_guard = nullptr;
std::mutex mutex;
std::size_t guards = 0;            // in all threads; under the mutex
struct sigaction previous_action;  // valid while there are guards
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

// The signal once more, for the action that was there before us. A fault repeats itself when the handler returns.
void pass_on(int signal, siginfo_t* info) noexcept {
  sigaction(signal, &previous_action, nullptr);
  if (info->si_code <= 0) syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), signal, info);
}

// A positive code is the kernel's; this one of them tells of memory that nobody has touched.
bool is_fault(const siginfo_t& info) noexcept { return info.si_code > 0 && info.si_code != BUS_MCEERR_AO; }

void on_bus_error(int signal, siginfo_t* info, void* /*context*/) {
  const int saved_errno = errno;
  Guard* const guard = current_guard;
  if (guard != nullptr && is_fault(*info)) {
    guard->lost = info->si_addr;
    siglongjmp(guard->return_point, 1);
  }
  pass_on(signal, info);
  errno = saved_errno;
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_bus_error;
}

// SA_NODEFER: the jump leaves the signal unblocked, so that nothing need be restored.
void take_signal() noexcept {
  struct sigaction found{};
  sigaction(SIGBUS, nullptr, &found);
  if (is_ours(found)) return;  // put back by somebody who found it there
  previous_action = found;
  struct sigaction ours{};
  ours.sa_sigaction = &on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  sigaction(SIGBUS, &ours, nullptr);
}

void leave_signal() noexcept {
  struct sigaction found{};
  sigaction(SIGBUS, nullptr, &found);
  if (is_ours(found)) sigaction(SIGBUS, &previous_action, nullptr);
}

class SignalTaken {
 public:
  SignalTaken() noexcept {
    const std::lock_guard lock(mutex);
    if (guards++ == 0) take_signal();
  }
  ~SignalTaken() {
    const std::lock_guard lock(mutex);
    if (--guards == 0) leave_signal();
  }
  SignalTaken(const SignalTaken&) = delete;
  SignalTaken& operator=(const SignalTaken&) = delete;
};

// Whether a jump puts the mask of signals back, which takes a system call. SA_NODEFER makes that unnecessary.
#if defined(__SANITIZE_THREAD__)
constexpr int kSavesMask = 1;  // ThreadSanitizer blocks all signals while a handler runs, whatever its flags say
#else
constexpr int kSavesMask = 0;
#endif

// The child of a fork has none of the threads with guards, and perhaps a locked mutex.
void start_over() {
  if (guards != 0) leave_signal();
  guards = 0;
  new (&mutex) std::mutex;
}
[[maybe_unused]] const int kForkHandler = pthread_atfork(nullptr, nullptr, start_over);

}  // namespace

const std::byte* lost_address(void (*leaf)(void*), void* context) noexcept {
  const SignalTaken taken;
  Guard guard;  // NOLINT(cppcoreguidelines-pro-type-member-init): sigsetjmp fills it
  Guard* const outer = current_guard;
  if (sigsetjmp(guard.return_point, kSavesMask) != 0) {
    current_guard = outer;
    return static_cast<const std::byte*>(guard.lost);
  }
  current_guard = &guard;
  leaf(context);
  current_guard = outer;
  return nullptr;
}

}  // namespace mckpt
