#include "mckpt/fault_guard.hpp"

#include <pthread.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <thread>

#include "mckpt/file.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::size_t kPage = 4096;

// A mapping of four pages whose file has two.
class FaultGuardTest : public ::testing::Test {
 protected:
  FaultGuardTest() {
    write_all(file_.ref(), random_bytes(4 * kPage, 1), 0);
    mapping_.emplace(file_.ref(), 4 * kPage);
    EXPECT_EQ(ftruncate(file_.ref().fd, 2 * kPage), 0);
  }

  [[nodiscard]] const std::byte* at(std::size_t offset) const { return mapping_->bytes().data() + offset; }

  // Address that is lost when a byte is read, or null.
  [[nodiscard]] const std::byte* read(std::size_t offset) const {
    return lost_address([byte = at(offset)] { [[maybe_unused]] const volatile std::byte copy = *byte; });
  }

  TempDirectory directory_;
  TempFile file_{directory_ / "file"};
  std::optional<MappedFile> mapping_;
};

struct sigaction current_action() {
  struct sigaction action{};
  sigaction(SIGBUS, nullptr, &action);
  return action;
}

// How a child ends that does `work`: its exit status, or minus the signal that killed it.
template <class Work>
int end_of(const Work& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void default_bus_errors() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &action, nullptr);
}

TEST_F(FaultGuardTest, TellsWhatIsLostAgainAndAgain) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(read(5), nullptr);
    EXPECT_EQ(read(2 * kPage + 7), at(2 * kPage + 7));
  }
}

TEST_F(FaultGuardTest, TellsWhatIsLostToWrites) {
  EXPECT_EQ(lost_address([dest = mapping_->bytes().data() + 3 * kPage] { *dest = std::byte{1}; }), at(3 * kPage));
}

TEST_F(FaultGuardTest, GuardsEveryThreadForItself) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::size_t n = 0; n < 8; ++n)
    threads.emplace_back([&, n] {
      for (int i = 0; i < 2000; ++i) {
        const std::byte* const expected = n % 2 == 0 ? nullptr : at(2 * kPage + n);
        wrong += read(n % 2 == 0 ? n : 2 * kPage + n) != expected;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(FaultGuardTest, LeavesTheSignalAndItsMaskAsTheyWere) {
  const struct sigaction before = current_action();
  ASSERT_NE(read(2 * kPage), nullptr);
  EXPECT_EQ(current_action().sa_handler, before.sa_handler);
  EXPECT_EQ(current_action().sa_flags, before.sa_flags);
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  EXPECT_EQ(sigismember(&blocked, SIGBUS), 0);
}

TEST_F(FaultGuardTest, SurvivesInTheChildOfAForkInTheMiddleOfGuards) {
  std::atomic<bool> is_over{false};
  std::thread busy([&] {
    while (!is_over) static_cast<void>(read(2 * kPage));
  });
  for (int round = 0; round < 50; ++round)
    EXPECT_EQ(end_of([&] { _exit(read(2 * kPage) == at(2 * kPage) ? 0 : 1); }), 0);
  is_over = true;
  busy.join();
}

// What follows looks at ends of processes, which sanitizers make their own.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kOwnsEnds = false;
#else
constexpr bool kOwnsEnds = true;
#endif

class ForeignFaultTest : public FaultGuardTest {
 protected:
  void SetUp() override {
    if (!kOwnsEnds) GTEST_SKIP() << "sanitizers handle the signal themselves";
  }
};

// Runs `work` in another thread while this one has a guard.
template <class Work>
void during_a_guard(const Work& work) {
  std::atomic<bool> is_guarded{false};
  std::atomic<bool> is_over{false};
  std::thread guarded([&] {
    static_cast<void>(lost_address([&is_guarded, &is_over] {
      is_guarded = true;
      while (!is_over) {
      }
    }));
  });
  while (!is_guarded) std::this_thread::yield();
  work();
  is_over = true;
  guarded.join();
}

TEST_F(ForeignFaultTest, KillsAsBeforeOutsideOfGuards) {
  const auto touch = [&] { [[maybe_unused]] const volatile std::byte copy = *at(3 * kPage); };
  EXPECT_EQ(end_of([&] {
              default_bus_errors();
              static_cast<void>(read(3 * kPage));
              touch();
            }),
            -SIGBUS);
  EXPECT_EQ(end_of([&] {
              default_bus_errors();
              during_a_guard(touch);
            }),
            -SIGBUS);
}

TEST_F(ForeignFaultTest, GoesToTheHandlerThatWasThere) {
  const auto install = [] {
    struct sigaction action{};
    action.sa_handler = [](int) { _exit(42); };
    sigaction(SIGBUS, &action, nullptr);
  };
  const auto touch = [&] { [[maybe_unused]] const volatile std::byte copy = *at(3 * kPage); };
  EXPECT_EQ(end_of([&] {
              install();
              if (read(3 * kPage) == nullptr) _exit(1);
              during_a_guard(touch);
            }),
            42);
  EXPECT_EQ(end_of([&] {
              install();
              during_a_guard([] { raise(SIGBUS); });
            }),
            42);
}

TEST_F(ForeignFaultTest, KillsWhenItIsSentDuringAGuard) {
  EXPECT_EQ(end_of([] {
              default_bus_errors();
              during_a_guard([] { kill(getpid(), SIGBUS); });
            }),
            -SIGBUS);
}

}  // namespace
}  // namespace mckpt
