// What the digest tests share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels.hpp"
#include "mckpt/digest.hpp"
#include "sha256_lanes.hpp"

namespace mckpt::digest {

using Bytes = std::vector<std::byte>;

inline bytes_view as_view(std::string_view text) { return std::as_bytes(std::span(text)); }

inline std::string to_hex(const digest256& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : digest) {
    text += kDigits[std::to_integer<std::size_t>(byte >> 4)];
    text += kDigits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  Bytes result(size);
  for (std::byte& byte : result) byte = static_cast<std::byte>(generator());
  return result;
}

// A way to hash, as the tests run it: an implementation, or one of its kernels on its own.
struct Hasher {
  std::string name;
  std::vector<Sha256Kernel> kernels;

  [[nodiscard]] std::vector<digest256> hash(std::span<const bytes_view> inputs) const {
    std::vector<digest256> digests(inputs.size());
    std::vector<Message> messages;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      messages.push_back({inputs[i].data(), inputs[i].size(), digests[i].data()});
    }
    hash_messages(kernels, kInitialState, messages);
    return digests;
  }

  [[nodiscard]] digest256 hash(bytes_view input) const { return hash(std::span(&input, 1)).front(); }
};

// Every implementation, and each kernel of each alone, taking in the last lane too.
inline std::vector<Hasher> all_hashers() {
  std::vector<Hasher> result;
  for (const Sha256Implementation& implementation : supported_sha256()) {
    const std::string name(implementation.name);
    result.push_back({name, {implementation.kernels.begin(), implementation.kernels.end()}});
    for (Sha256Kernel kernel : implementation.kernels) {
      kernel.min_busy = 1;
      result.push_back({name + "_x" + std::to_string(kernel.lanes), {kernel}});
    }
  }
  return result;
}

inline const Hasher& portable_hasher() {
  static const Hasher hasher = all_hashers().back();
  return hasher;
}

// Memory that ends at a page that cannot be read, so that reading one byte too many is a crash.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), mapped_((size + page_ - 1) / page_ * page_ + page_) {
    void* const address = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) throw std::runtime_error("mmap failed");
    begin_ = static_cast<std::byte*>(address);
    if (mprotect(begin_ + mapped_ - page_, page_, PROT_NONE) != 0) throw std::runtime_error("mprotect failed");
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer(GuardedBuffer&&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;
  ~GuardedBuffer() { munmap(begin_, mapped_); }

  // The last `size` bytes that can be read.
  [[nodiscard]] std::span<std::byte> last(std::size_t size) const { return {begin_ + mapped_ - page_ - size, size}; }

 private:
  std::size_t page_;
  std::size_t mapped_;
  std::byte* begin_;
};

}  // namespace mckpt::digest
