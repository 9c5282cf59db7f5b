// What the fuzz targets share: inputs as a source of choices, files in memory, and promises.
//
// A target defines LLVMFuzzerTestOneInput. libFuzzer calls it, or standalone.cpp where there is no libFuzzer.
#pragma once

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "mckpt/digest.hpp"
#include "mckpt/error.hpp"
#include "mckpt/file.hpp"
#include "mckpt/parallel.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace mckpt::fuzz {

using Bytes = std::vector<std::byte>;

// Ends the process, as a sanitizer would.
[[noreturn]] inline void broken(const char* promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

inline void demand(bool holds, const char* promise) {
  if (!holds) broken(promise);
}

// An input as a source of choices; beyond its end all of them are 0.
class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }

  std::uint64_t word() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }

  bool coin() { return (byte() & 1) != 0; }
  bool rarely() { return byte() >= 240; }
  std::size_t below(std::size_t limit) { return byte() % limit; }

  template <class T>
  T one_of(std::initializer_list<T> items) {
    return items.begin()[below(items.size())];
  }

  // A number that somebody might have put in the place of one up to `limit`.
  std::uint64_t hostile(std::uint64_t limit) {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    switch (below(8)) {
      case 0:
        return 0;
      case 1:
        return limit;
      case 2:
        return limit + byte() - 128;
      case 3:
        return word();
      case 4:
        return kMost - byte() * one_of<std::uint64_t>({1, 4096, kChunkBytes});
      case 5:
        return kMost / 2 + 1 - byte() * one_of<std::uint64_t>({1, 4096, kChunkBytes});
      case 6:
        return one_of<std::uint64_t>({1, 4096, kLeafBytes, kChunkBytes, 4 * kChunkBytes}) * byte();
      default:
        return limit == 0 ? 0 : word() % limit;
    }
  }

  IoMode io() { return one_of({IoMode::kAuto, IoMode::kBuffered, IoMode::kDirect}); }
  WorkOptions work() { return {.threads = below(4)}; }

 private:
  std::span<const std::uint8_t> rest_;
};

// Some of a pool of random bytes, in memory of exactly that size.
inline Bytes random_bytes(std::size_t size, std::size_t from) {
  static const Bytes pool = [] {
    std::mt19937_64 generator(1);
    Bytes bytes(2 * kChunkBytes);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
    return bytes;
  }();
  const auto begin = pool.begin() + static_cast<std::ptrdiff_t>(from);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

// A file in memory. No file of this process may become large: the system would look for the memory.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : ref_{memfd_create(name, MFD_CLOEXEC), name} {
    if (ref_.fd < 0) throw std::runtime_error("no file in memory");
    constexpr rlimit kLimit{kMostBytes, kMostBytes};
    setrlimit(RLIMIT_FSIZE, &kLimit);
    std::signal(SIGXFSZ, SIG_IGN);
  }
  ~MemoryFile() { close(ref_.fd); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] const FileRef& ref() const { return ref_; }
  void resize(std::size_t size) const { demand(ftruncate(ref_.fd, static_cast<off_t>(size)) == 0, "a file in memory"); }

  static constexpr std::size_t kMostBytes = 4UL * 1024 * 1024;

 private:
  FileRef ref_;
};

// Runs `work`; whether it succeeded. An Error is the right way to fail, anything else ends the process.
template <class Work>
bool succeeds(const Work& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    demand(*error.what() != '\0', "an error says what is wrong");
  } catch (const std::exception& error) {
    broken(error.what());
  }
  return false;
}

}  // namespace mckpt::fuzz
