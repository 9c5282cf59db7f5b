// All that the core does, at the same time, on the one pool and the one staging area that a process has. Every call
// either does what it is to do, to the byte, or fails with the error that its scene provokes. ThreadSanitizer watches.
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>

#include "device/fake_device.hpp"
#include "device/pinned_ring.hpp"
#include "mckpt/copier.hpp"
#include "mckpt/reader.hpp"
#include "mckpt/staging.hpp"
#include "mckpt/writer.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::Bytes;
using testing::FakeDevice;
using testing::random_bytes;
using testing::TempDirectory;
using testing::TempFile;

constexpr std::uint64_t kDataOffset = 4096;
constexpr int kRounds = 4;  // ThreadSanitizer takes half a minute for them

// Several blocks, and tensors that begin in the middle of one.
std::vector<Bytes> some_tensors(std::uint64_t seed) {
  std::vector<Bytes> tensors;
  for (const std::size_t size : {kBlockBytes + 4096, 77UL, 0UL, kBlockBytes / 2 + 3, 4096UL})
    tensors.push_back(random_bytes(size, seed + size));
  return tensors;
}

std::vector<Segment> segments_of(const std::vector<Bytes>& tensors) {
  std::vector<Segment> segments;
  for (const Bytes& tensor : tensors) segments.push_back({tensor, "tensor"});
  return segments;
}

// A file of tensors, and where they are in it.
struct Saved {
  explicit Saved(const std::string& path, const std::vector<Bytes>& tensors, const WriteOptions& options = {})
      : file(path), table(write_segments(file.ref(), segments_of(tensors), kDataOffset, options).table) {
    std::uint64_t offset = kDataOffset;
    std::uint64_t chunk = 0;
    for (const Bytes& tensor : tensors) {
      spans.push_back({offset, tensor.size(), nullptr, chunk, "tensor"});
      offset += tensor.size();
      chunk += chunk_count(tensor.size());
    }
  }

  // Loads all of it into memory of its own.
  [[nodiscard]] std::vector<Bytes> load(IoMode io, const WorkOptions& work = {}) const {
    std::vector<Bytes> loaded;
    std::vector<FileSpan> wanted = spans;
    for (FileSpan& span : wanted) span.dest = loaded.emplace_back(span.length).data();
    read_spans(file.ref(), wanted, {.table = table, .io = io, .work = work});
    return loaded;
  }

  TempFile file;
  Bytes table;
  std::vector<FileSpan> spans;
};

class Stress : public ::testing::Test {
 protected:
  void SetUp() override { set_threads(4); }
  void TearDown() override {
    set_threads(threads_before_);
    set_staging_bytes(staging_before_);
  }

  // Runs scenes at the same time, each over and over.
  static void run(const std::vector<std::function<void(int)>>& scenes) {
    std::vector<std::jthread> threads;
    for (const auto& scene : scenes)
      threads.emplace_back([&scene] {
        for (int round = 0; round < kRounds; ++round) scene(round);
      });
  }

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }

  TempDirectory directory_;
  std::vector<Bytes> tensors_ = some_tensors(1);
  Saved saved_{path("saved"), tensors_};

 private:
  std::size_t threads_before_ = get_threads();
  std::size_t staging_before_ = get_staging_bytes();
};

IoMode way(int round) { return round % 2 == 0 ? IoMode::kBuffered : IoMode::kAuto; }

// --- scenes ---------------------------------------------------------------------------------------------------------

void save_and_load(const std::string& path, int round) {
  const std::vector<Bytes> tensors = some_tensors(static_cast<std::uint64_t>(round));
  const Saved saved(path, tensors, {.io = way(round)});
  EXPECT_EQ(saved.load(way(round + 1)), tensors);
}

void load(const Saved& saved, const std::vector<Bytes>& expected, int round) {
  drop_cache(saved.file.ref());
  EXPECT_EQ(saved.load(way(round)), expected);
}

void verify_mapped(const Saved& saved) {
  const MappedFile mapping(saved.file.ref(), file_size(saved.file.ref()));
  verify_mapping(mapping, "saved", saved.spans, {.table = saved.table});
}

// A load that is given up when it is first asked whether to go on, if it takes that long.
void load_and_give_up(const Saved& saved, const std::vector<Bytes>& expected, int round) {
  try {
    EXPECT_EQ(saved.load(way(round), {.threads = 1, .interrupt = [] { throw std::logic_error("stop"); }}), expected);
  } catch (const std::logic_error& stopped) {
    EXPECT_STREQ(stopped.what(), "stop");
  }
}

void save_and_give_up(const std::string& path, const std::vector<Bytes>& tensors) {
  const WorkOptions work{.threads = 1, .interrupt = [] { throw std::logic_error("stop"); }};
  try {
    const Saved saved(path, tensors, {.work = work});
  } catch (const std::logic_error& stopped) {
    EXPECT_STREQ(stopped.what(), "stop");
  }
}

// The first damaged block ends the call while others of it run.
void load_damaged(const Saved& damaged, int round) {
  const Error error = testing::error_of([&] { static_cast<void>(damaged.load(way(round))); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
}

// A file that loses half of its bytes, and gets them back, while its mapping is verified and copied.
void work_on_what_shrinks(const std::string& path, int round) {
  const std::vector<Bytes> tensors = some_tensors(7);
  const Saved saved(path, tensors);
  const std::uint64_t size = file_size(saved.file.ref());
  const MappedFile mapping(saved.file.ref(), size);
  std::jthread shrinker([&] {
    const Bytes content = saved.file.content();
    const std::uint64_t kept = size / 2 + static_cast<std::uint64_t>(round) * 4096;
    EXPECT_EQ(ftruncate(saved.file.ref().fd, static_cast<off_t>(kept)), 0);
    write_all(saved.file.ref(), std::span(content).subspan(kept), kept);
  });
  Bytes copy(size);
  const std::vector<std::function<void()>> works{
      [&] { verify_mapping(mapping, "shrinking", saved.spans, {.table = saved.table}); },
      [&] { copy_each(std::vector<std::span<std::byte>>{copy}, std::vector<bytes_view>{mapping.bytes()}); }};
  for (const auto& work : works) try {
      work();
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kTruncated || error.code() == ErrorCode::kCorrupt) << error.what();
    }
}

void load_to_device(const Saved& saved, PinnedRing& ring, const std::vector<Bytes>& expected, int round) {
  std::vector<Bytes> arrived;
  std::vector<DeviceAddress> addresses;
  for (const FileSpan& span : saved.spans)
    addresses.push_back(reinterpret_cast<DeviceAddress>(arrived.emplace_back(span.length).data()));
  read_spans_to_device(saved.file.ref(), saved.spans, {ring, 0, addresses}, {.table = saved.table, .io = way(round)});
  EXPECT_EQ(arrived, expected);
}

void load_damaged_to_device(const Saved& damaged, PinnedRing& ring) {
  std::vector<Bytes> arrived;
  std::vector<DeviceAddress> addresses;
  for (const FileSpan& span : damaged.spans)
    addresses.push_back(reinterpret_cast<DeviceAddress>(arrived.emplace_back(span.length).data()));
  const Error error = testing::error_of(
      [&] { read_spans_to_device(damaged.file.ref(), damaged.spans, {ring, 0, addresses}, {.table = damaged.table}); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
}

// What a program may do at any time: the calls under way keep what they have.
void change_the_budgets(int round) {
  set_threads(1 + static_cast<std::size_t>(round) % 4);
  set_staging_bytes((1 + static_cast<std::size_t>(round) % 3) * kBlockBytes);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

// --- tests ----------------------------------------------------------------------------------------------------------

TEST_F(Stress, SavesLoadsAndMappingsShareTheProcess) {
  run({[&](int round) { save_and_load(path("a"), round); }, [&](int round) { save_and_load(path("b"), round + 100); },
       [&](int round) { load(saved_, tensors_, round); }, [&](int round) { load(saved_, tensors_, round + 1); },
       [&](int /*round*/) { verify_mapped(saved_); }, [](int round) { change_the_budgets(round); }});
}

TEST_F(Stress, CallsThatFailOrAreGivenUpLeaveTheOthersAlone) {
  const Saved damaged(path("damaged"), tensors_);
  damaged.file.flip_bit(kDataOffset + kBlockBytes + 5, 1);
  run({[&](int round) { load_and_give_up(saved_, tensors_, round); },
       [&](int /*round*/) { save_and_give_up(path("given up"), tensors_); },
       [&](int round) { load_damaged(damaged, round); }, [&](int round) { load(saved_, tensors_, round); },
       [&](int round) { save_and_load(path("c"), round); }});
}

TEST_F(Stress, FilesThatShrinkDoNotDisturbOthers) {
  run({[&](int round) { work_on_what_shrinks(path("one"), round); },
       [&](int round) { work_on_what_shrinks(path("two"), round); }, [&](int /*round*/) { verify_mapped(saved_); },
       [&](int round) { load(saved_, tensors_, round); }});
}

TEST_F(Stress, DevicesAreFilledAmidAllThat) {
  FakeDevice device;
  {
    PinnedRing ring(device);
    const Saved damaged(path("damaged"), tensors_);
    damaged.file.flip_bit(kDataOffset + kBlockBytes + 5, 1);
    run({[&](int round) { load_to_device(saved_, ring, tensors_, round); },
         [&](int round) { load_to_device(saved_, ring, tensors_, round + 1); },
         [&](int /*round*/) { load_damaged_to_device(damaged, ring); },
         [&](int round) { save_and_load(path("d"), round); },
         [&](int round) { work_on_what_shrinks(path("three"), round); }});
    EXPECT_EQ(device.in_flight(), 0U);
  }
  EXPECT_EQ(device.things(), 0U);
  EXPECT_TRUE(device.faults().empty());
}

}  // namespace
}  // namespace mckpt
