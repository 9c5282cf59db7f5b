// Memory and threads that the system refuses, at every place where the core asks for them.
//
// Operator new, mmap and pthread_create of this program refuse the k-th request, or all from the k-th on, for every k
// until a run needs fewer. Each run is the first of its process, a fork, so that what is made once and kept (the pool's
// threads, staging buffers) is refused, too. Then the operation must work: no thread is waiting for one that is gone,
// no lock is held, no buffer is lost. Leaks are found by counting, and by the sanitizer where there is one.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <new>

#include "device/fake_device.hpp"
#include "device/pinned_ring.hpp"
#include "mckpt/arena.hpp"
#include "mckpt/chunk_table.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/device.hpp"
#include "mckpt/reader.hpp"
#include "mckpt/staging.hpp"
#include "mckpt/writer.hpp"

namespace {

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): what replaces functions of the program must be
// global
std::atomic<std::int64_t> first_refusal{0};  // 0: nothing is refused
std::atomic<bool> refuses_all_later{false};
std::atomic<std::int64_t> requests{0};
std::atomic<std::int64_t> refusals{0};
std::atomic<std::int64_t> live{0};  // allocations that were not freed
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

bool is_refused() noexcept {
  const std::int64_t first = first_refusal;
  if (first == 0) return false;
  const std::int64_t number = ++requests;
  const bool refused = number == first || (refuses_all_later && number > first);
  if (refused) ++refusals;
  return refused;
}

void* allocate(std::size_t size, std::size_t alignment) {
  void* memory = nullptr;
  if (is_refused() || posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<std::size_t>(size, 1)) != 0)
    throw std::bad_alloc();
  ++live;
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  --live;
  std::free(memory);
}

}  // namespace

// Not inlined: GCC would see free() without the operator around it, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}

// Called instead of mmap by what is linked to this program: `--wrap`.
extern "C" void* __real_mmap(void* address, std::size_t size, int protection, int flags, int fd, off_t offset);
extern "C" void* __wrap_mmap(void* address, std::size_t size, int protection, int flags, int fd, off_t offset) {
  if (is_refused()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return __real_mmap(address, size, protection, flags, fd, offset);
}

// Found by the standard library before the C library's, or the sanitizer's.
extern "C" [[gnu::visibility("default")]] int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                             void* (*start)(void*), void* argument) {
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return is_refused() ? EAGAIN : real(thread, attributes, start, argument);
}

namespace mckpt {
namespace {

using testing::Bytes;
using testing::FakeDevice;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::size_t kSmallTensors = 5;

// A file of tensors, small and large ones, and what is needed to write and read it.
struct Fixture {
  Fixture() {
    for (std::size_t i = 0; i < kSmallTensors; ++i) tensors.push_back(random_bytes(1000 + i, i));
    tensors.push_back(random_bytes(kBlockBytes + 5000, 99));
    for (const Bytes& tensor : tensors) views.emplace_back(tensor);
    for (const bytes_view view : views) segments.push_back({view, "a tensor"});
    table = digest();
    write();
    std::uint64_t offset = kDataOffset;
    std::uint64_t chunk = 0;
    for (const Bytes& tensor : tensors) {
      places.emplace_back(tensor.size());
      spans.push_back({offset, tensor.size(), places.back().data(), chunk, "a tensor"});
      offset += tensor.size();
      chunk += chunk_count(tensor.size());
    }
    file_bytes = offset;
  }

  // The table, which a child makes: this process must not have used the core before it forks.
  [[nodiscard]] Bytes digest() const {
    std::size_t chunks = 0;
    for (const bytes_view view : views) chunks += chunk_count(view.size());
    Bytes result(chunks * kChunkEntryBytes);
    void* const shared = mmap(nullptr, result.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const pid_t child = fork();
    if (child == 0) {
      std::memcpy(shared, digest_chunks(views).data(), result.size());
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    std::memcpy(result.data(), shared, result.size());
    munmap(shared, result.size());
    return result;
  }

  void write() const {
    std::uint64_t offset = kDataOffset;
    for (const Bytes& tensor : tensors) {
      write_all(file.ref(), tensor, offset);
      offset += tensor.size();
    }
  }

  void clear() {
    for (Bytes& place : places) std::ranges::fill(place, std::byte{0});
  }

  void expect_places() const { EXPECT_EQ(places, tensors); }

  static constexpr std::uint64_t kDataOffset = 4096;

  TempDirectory directory;
  TempFile file{directory / "file"};
  TempFile other{directory / "other"};
  std::vector<Bytes> tensors;
  std::vector<bytes_view> views;
  std::vector<Segment> segments;
  Bytes table;
  std::vector<Bytes> places;
  std::vector<FileSpan> spans;
  std::uint64_t file_bytes = 0;
};

// Something that the core does. It checks what came of it, if it came to that.
using Operation = void (*)(Fixture& fixture);

void write_file(Fixture& fixture, IoMode io) {
  const WriteResult result = write_segments(fixture.other.ref(), fixture.segments, Fixture::kDataOffset, {.io = io});
  EXPECT_EQ(result.table, fixture.table);
  EXPECT_EQ(file_size(fixture.other.ref()), fixture.file_bytes);
}

void read_file(Fixture& fixture, IoMode io, Check check) {
  fixture.clear();
  read_spans(fixture.file.ref(), fixture.spans, {.table = fixture.table, .check = check, .io = io});
  fixture.expect_places();
}

void check_only(Fixture& fixture) {
  std::vector<FileSpan> spans = fixture.spans;
  for (FileSpan& span : spans) span.dest = nullptr;
  read_spans(fixture.file.ref(), spans, {.table = fixture.table});
}

void check_mapping(Fixture& fixture) {
  const MappedFile mapping(fixture.file.ref(), fixture.file_bytes);
  verify_mapping(mapping, fixture.file.ref().path, fixture.spans, {.table = fixture.table});
}

void find_damage(Fixture& fixture) {
  Bytes damaged = fixture.table;
  damaged.back() ^= std::byte{1};
  try {
    read_spans(fixture.file.ref(), fixture.spans, {.table = damaged, .check = Check::kCrc32c});
    ADD_FAILURE() << "the damage was not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  }
}

void copy(Fixture& fixture) {
  std::vector<std::uint64_t> offsets;
  std::uint64_t end = 0;
  for (const bytes_view view : fixture.views) {
    offsets.push_back(end);
    end += view.size();
  }
  const Arena arena(end);
  copy_buffers(arena.bytes(), offsets, fixture.views);
  EXPECT_TRUE(std::ranges::equal(arena.bytes().last(fixture.views.back().size()), fixture.views.back()));
}

void load_to_device(Fixture& fixture) {
  fixture.clear();
  FakeDevice device;
  PinnedRing ring(device);
  std::vector<DeviceAddress> addresses;
  for (Bytes& place : fixture.places) addresses.push_back(reinterpret_cast<DeviceAddress>(place.data()));
  read_spans_to_device(fixture.file.ref(), fixture.spans, {ring, 0, addresses}, {.table = fixture.table});
  fixture.expect_places();
}

// A budget that cannot be kept is not in force.
void change_budgets(Fixture& fixture) {
  for (const std::size_t blocks : {3, 64}) {
    const std::size_t before = get_staging_bytes();
    try {
      set_staging_bytes(blocks * kBlockBytes);
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(get_staging_bytes(), before);
      throw;
    }
    write_file(fixture, IoMode::kDirect);
  }
}

struct Named {
  const char* name;
  Operation operation;
  std::int64_t stride = 1;  // from one request that is refused to the next
};

constexpr Named kOperations[] = {
    {"write directly", [](Fixture& fixture) { write_file(fixture, IoMode::kAuto); }},
    {"write through the page cache", [](Fixture& fixture) { write_file(fixture, IoMode::kBuffered); }},
    {"read", [](Fixture& fixture) { read_file(fixture, IoMode::kAuto, Check::kSha256); }},
    {"read directly", [](Fixture& fixture) { read_file(fixture, IoMode::kDirect, Check::kCrc32c); }},
    {"read unchecked", [](Fixture& fixture) { read_file(fixture, IoMode::kBuffered, Check::kNone); }},
    {"check", check_only},
    {"check a mapping", check_mapping},
    {"find damage", find_damage},
    {"copy", copy},
    {"digest", [](Fixture& fixture) { EXPECT_EQ(digest_chunks(fixture.views), fixture.table); }},
    {"load to a device", load_to_device, 37},  // most requests are the fake device's own
    {"change budgets", change_budgets},
};

// --- trials --------------------------------------------------------------------------------------------------------

enum class Outcome : int { kFailed = 10, kRaised, kSurvived, kNotReached };

// Refuses the request `at`, or also all later ones, while a function runs.
class Refusing {
 public:
  Refusing(std::int64_t at, bool lasting) {
    requests = 0;
    refusals = 0;
    refuses_all_later = lasting;
    first_refusal = at;
  }
  ~Refusing() { first_refusal = 0; }
  Refusing(const Refusing&) = delete;
  Refusing& operator=(const Refusing&) = delete;
};

// The failure may be told in two ways only: as std::bad_alloc, or as the Error that the system call deserves.
Outcome attempt(Operation operation, Fixture& fixture, std::int64_t at, bool lasting) {
  bool raised = false;
  {
    const Refusing refusing(at, lasting);
    try {
      operation(fixture);
    } catch (const std::bad_alloc&) {
      raised = true;
    } catch (const Error& error) {
      EXPECT_EQ(error.context().system_errno, ENOMEM) << error.what();
      raised = true;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "it threw " << error.what();
    }
  }
  if (refusals == 0) {
    EXPECT_FALSE(raised);
    return Outcome::kNotReached;
  }
  return raised ? Outcome::kRaised : Outcome::kSurvived;
}

// In a process of its own: the failure, then twice the operation as if nothing had been, which leaks nothing.
[[noreturn]] void trial(Operation operation, Fixture& fixture, std::int64_t at, bool lasting) {
  alarm(60);  // what waits for ever is killed
  const Outcome outcome = attempt(operation, fixture, at, lasting);
  operation(fixture);
  const std::int64_t before = live;
  if (attempt(operation, fixture, at, lasting) != Outcome::kNotReached) operation(fixture);
  EXPECT_LE(live, before) << "leaked";
  std::cout.flush();
  _exit(static_cast<int>(::testing::Test::HasFailure() ? Outcome::kFailed : outcome));
}

Outcome forked_trial(Operation operation, Fixture& fixture, std::int64_t at, bool lasting) {
  const pid_t child = fork();
  if (child == 0) trial(operation, fixture, at, lasting);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  return WIFEXITED(status) ? static_cast<Outcome>(WEXITSTATUS(status)) : Outcome::kFailed;
}

class AllocationFailure : public ::testing::TestWithParam<Named> {};

TEST_P(AllocationFailure, IsAnErrorAndNoMore) {
  Fixture fixture;
  std::int64_t raised = 0;
  for (const bool lasting : {false, true}) {
    SCOPED_TRACE(lasting ? "all later requests are refused" : "one request is refused");
    for (std::int64_t at = 1;; at += GetParam().stride) {
      const Outcome outcome = forked_trial(GetParam().operation, fixture, at, lasting);
      if (outcome == Outcome::kNotReached) break;
      raised += outcome == Outcome::kRaised ? 1 : 0;
      ASSERT_TRUE(outcome == Outcome::kRaised || outcome == Outcome::kSurvived)
          << "request " << at << ": " << static_cast<int>(outcome);
    }
  }
  EXPECT_GT(raised, 0);
  RecordProperty("raised", static_cast<int>(raised));
}

INSTANTIATE_TEST_SUITE_P(Every, AllocationFailure, ::testing::ValuesIn(kOperations), [](const auto& tested) {
  std::string name = tested.param.name;
  std::ranges::replace(name, ' ', '_');
  return name;
});

}  // namespace
}  // namespace mckpt
