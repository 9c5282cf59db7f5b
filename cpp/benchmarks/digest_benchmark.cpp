// Speed of every digest implementation that this CPU can run, on one thread.
//
//   digest_benchmark [MIB]    data to hash for each figure, default 256 MiB, over and over the same 1 MiB
//                            (that of a call of `chunks`, if that is more), so that it lies in the CPU's cache
//
// Prints decimal GB/s, the best of five runs, for
//   sha256   one message (one lane),
//   leaves   4 MiB as independent messages of one size: what another leaf size would make of the lanes,
//   chunks   chunk digests, four to a call as far as the buffer goes: leaves, padding and chunk nodes included,
//   crc32c   one message,
// and fails if an implementation's answer differs from the portable one.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "chunk.hpp"
#include "kernels.hpp"
#include "mckpt/digest.hpp"
#include "sha256_lanes.hpp"

namespace {

using mckpt::bytes_view;
using mckpt::digest256;
using mckpt::digest::Crc32cImplementation;
using mckpt::digest::Sha256Implementation;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kBufferBytes = 4 * kMiB;
constexpr int kRuns = 5;

// Something about the last answer, so that the compiler keeps it and implementations can be compared.
using Answer = std::uint64_t;

Answer fold(const digest256& digest) {
  Answer answer = 0;
  std::memcpy(&answer, digest.data(), sizeof answer);
  return answer;
}

std::vector<std::byte> make_data() {
  std::vector<std::byte> data(kBufferBytes);
  std::uint64_t state = 1;
  for (std::byte& byte : data) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<std::byte>(state >> 56);
  }
  return data;
}

struct Figure {
  double gigabytes_per_second = 0;
  Answer answer = 0;
};

// Calls `work` on the buffer, `size` bytes at a time, until `total` bytes are done.
Figure measure(const std::vector<std::byte>& data, std::size_t size, std::size_t total,
               const std::function<Answer(bytes_view)>& work) {
  Figure figure;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    std::size_t done = 0;
    for (std::size_t at = 0; done < total; done += size, at += size) {
      if (at + size > std::max(size, kMiB)) at = 0;
      figure.answer = work(bytes_view(data).subspan(at, size));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    figure.gigabytes_per_second =
        std::max(figure.gigabytes_per_second, static_cast<double>(done) / seconds.count() / 1e9);
  }
  return figure;
}

Answer hash_one(const Sha256Implementation& implementation, bytes_view bytes) {
  digest256 result;
  const mckpt::digest::Message message = {bytes.data(), bytes.size(), result.data()};
  mckpt::digest::hash_messages(implementation.kernels.last(1), mckpt::digest::kInitialState, {&message, 1});
  return fold(result);
}

Answer hash_leaves(const Sha256Implementation& implementation, bytes_view bytes, std::size_t leaf_bytes) {
  std::vector<digest256> digests(bytes.size() / leaf_bytes);
  std::vector<mckpt::digest::Message> leaves;
  for (std::size_t i = 0; i < digests.size(); ++i)
    leaves.push_back({bytes.data() + i * leaf_bytes, leaf_bytes, digests[i].data()});
  mckpt::digest::hash_messages(implementation.kernels, mckpt::digest::kInitialState, leaves);
  return fold(digests.back());
}

Answer hash_chunks(const Sha256Implementation& implementation, bytes_view bytes, std::size_t chunk_bytes) {
  std::vector<bytes_view> chunks;
  for (std::size_t at = 0; at < bytes.size(); at += chunk_bytes) chunks.push_back(bytes.subspan(at, chunk_bytes));
  std::vector<digest256> digests(chunks.size());
  mckpt::digest::chunk_digests_with(implementation, chunks, digests);
  return fold(digests.back());
}

bool print(const char* what, std::string_view name, std::size_t size, const Figure& figure, Answer expected) {
  const bool right = figure.answer == expected;
  std::printf("%-8s %-10.*s %8zu KiB %8.2f GB/s%s\n", what, static_cast<int>(name.size()), name.data(), size / kKiB,
              figure.gigabytes_per_second, right ? "" : "  WRONG ANSWER");
  return right;
}

}  // namespace

int main(int argc, const char* const* argv) {
  const std::size_t mib = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 256;
  const std::size_t total = mib * kMiB;
  const std::vector<std::byte> data = make_data();
  const auto sha256 = mckpt::digest::supported_sha256();
  const auto crc32c = mckpt::digest::supported_crc32c();
  bool right = true;

  for (const std::size_t size : {kKiB, 64 * kKiB, kMiB}) {
    const auto run = [&](const Sha256Implementation& with) {
      return measure(data, size, total, [&](bytes_view bytes) { return hash_one(with, bytes); });
    };
    const Answer expected = run(sha256.back()).answer;
    for (const auto& with : sha256) right &= print("sha256", with.name, size, run(with), expected);
  }
  for (const std::size_t leaf : {16 * kKiB, 32 * kKiB, 64 * kKiB, 128 * kKiB, 256 * kKiB}) {
    const auto run = [&](const Sha256Implementation& with) {
      return measure(data, kBufferBytes, total, [&](bytes_view bytes) { return hash_leaves(with, bytes, leaf); });
    };
    const Answer expected = run(sha256.back()).answer;
    for (const auto& with : sha256) right &= print("leaves", with.name, leaf, run(with), expected);
  }
  for (const std::size_t chunk : {kKiB, 64 * kKiB, 640 * kKiB, kMiB}) {
    const std::size_t call = chunk <= 64 * kKiB ? 64 * chunk : 4 * chunk;
    const auto run = [&](const Sha256Implementation& with) {
      return measure(data, call, total, [&](bytes_view bytes) { return hash_chunks(with, bytes, chunk); });
    };
    const Answer expected = run(sha256.back()).answer;
    for (const auto& with : sha256) right &= print("chunks", with.name, chunk, run(with), expected);
  }
  for (const std::size_t size : {kKiB, 64 * kKiB, kMiB}) {
    const auto run = [&](const Crc32cImplementation& with) {
      return measure(data, size, total, [&](bytes_view bytes) { return with.extend(0, bytes.data(), bytes.size()); });
    };
    const Answer expected = run(crc32c.back()).answer;
    for (const auto& with : crc32c) right &= print("crc32c", with.name, size, run(with), expected);
  }
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
