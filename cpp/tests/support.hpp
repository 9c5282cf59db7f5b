// What the tests share: real files, random bytes, and expectations about errors.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "mckpt/digest.hpp"
#include "mckpt/error.hpp"
#include "mckpt/file.hpp"

namespace mckpt::testing {

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  Bytes result(size);
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = generator();
    std::memcpy(result.data() + i, &word, std::min(sizeof word, size - i));
  }
  return result;
}

// An empty directory that is removed with all that is in it.
class TempDirectory {
 public:
  explicit TempDirectory(const std::string& parent = ::testing::TempDir()) : path_(parent + "/mckpt-test-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
  }
  ~TempDirectory() { static_cast<void>(std::system(("rm -rf '" + path_ + "'").c_str())); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// An open file.
class TempFile {
 public:
  explicit TempFile(const std::string& path, int flags = O_RDWR | O_CREAT)
      : ref_{open(path.c_str(), flags | O_CLOEXEC, 0600), path} {
    if (ref_.fd < 0) throw std::runtime_error("cannot open " + path);
  }
  ~TempFile() { close(ref_.fd); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  [[nodiscard]] const FileRef& ref() const { return ref_; }

  [[nodiscard]] Bytes content() const {
    Bytes bytes(file_size(ref_));
    read_all(ref_, bytes, 0);
    return bytes;
  }

  void flip_bit(std::uint64_t offset, unsigned bit) const {
    std::byte byte{};
    read_all(ref_, {&byte, 1}, offset);
    byte ^= std::byte{1} << bit;
    write_all(ref_, {&byte, 1}, offset);
  }

 private:
  FileRef ref_;
};

// The Error that `work` throws; fails the test if it throws none.
template <class Work>
Error error_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return {ErrorCode::kArgument, "no error"};
}

}  // namespace mckpt::testing
