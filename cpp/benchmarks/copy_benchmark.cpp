// Speed of stream_copy() beside memcpy(), on one thread.
//
//   copy_benchmark [MIB]    data to copy for each figure, default 1024 MiB
//
// Prints decimal GB/s of bytes copied, the best of five runs, for pieces of one size: cached, where the same piece is
// copied to the same place again and again, and streamed, where pieces follow each other through 64 MiB, as in a
// snapshot. Fails if a copy differs from its source.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "mckpt/arena.hpp"
#include "mckpt/copier.hpp"

namespace {

using mckpt::bytes_view;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kMemoryBytes = 64 * kMiB;
constexpr int kRuns = 5;

using Copy = void (*)(std::byte* dest, bytes_view source);

void plain_copy(std::byte* dest, bytes_view source) { std::memcpy(dest, source.data(), source.size()); }
void streamed_copy(std::byte* dest, bytes_view source) { mckpt::stream_copy(dest, source); }

// Copies `total` bytes piece by piece, over and over the first `window` bytes; the best GB/s.
double measure(Copy copy, std::span<std::byte> dest, bytes_view source, std::size_t piece, std::size_t window,
               std::size_t total) {
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    std::size_t done = 0;
    for (std::size_t at = 0; done < total; done += piece, at += piece) {
      if (at + piece > window) at = 0;
      copy(dest.data() + at, source.subspan(at, piece));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(done) / seconds.count() / 1e9);
  }
  return best;
}

bool print(const char* name, Copy copy, std::span<std::byte> dest, bytes_view source, std::size_t piece,
           std::size_t total) {
  std::memset(dest.data(), 0, dest.size());
  const double cached = measure(copy, dest, source, piece, piece, total);
  const double streamed = measure(copy, dest, source, piece, kMemoryBytes, std::max(total, kMemoryBytes));
  const bool right = std::memcmp(dest.data(), source.data(), kMemoryBytes) == 0;
  std::printf("%-12s %8zu KiB   cached %8.2f GB/s   streamed %8.2f GB/s%s\n", name, piece / kKiB, cached, streamed,
              right ? "" : "  WRONG COPY");
  return right;
}

}  // namespace

int main(int argc, const char* const* argv) {
  const std::size_t total = (argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1024) * kMiB;
  const mckpt::Arena source(kMemoryBytes);
  const mckpt::Arena dest(kMemoryBytes);
  for (std::size_t i = 0; i < kMemoryBytes; ++i) source.bytes()[i] = static_cast<std::byte>(i % 251);
  bool right = true;
  for (const std::size_t piece : {16 * kKiB, 64 * kKiB, 256 * kKiB, kMiB, 16 * kMiB}) {
    right &= print("memcpy", plain_copy, dest.bytes(), source.bytes(), piece, total);
    right &= print("stream_copy", streamed_copy, dest.bytes(), source.bytes(), piece, total);
  }
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
