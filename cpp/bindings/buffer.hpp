// Python's buffers and sequences as C++ values.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mckpt/digest.hpp"
#include "mckpt/parallel.hpp"

namespace mckpt::python {

// Pins of C-contiguous buffers: as long as this lives they keep their address and size, and their owners refuse to
// resize them. Made and destroyed with the GIL.
class PinnedBuffers {
 public:
  enum class Access { kRead, kWrite };

  // Raises Python's BufferError or TypeError for an object that cannot be pinned.
  PinnedBuffers(const pybind11::handle& sequence, Access access);
  ~PinnedBuffers();
  PinnedBuffers(const PinnedBuffers&) = delete;
  PinnedBuffers& operator=(const PinnedBuffers&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return views_.size(); }
  [[nodiscard]] std::span<std::byte> operator[](std::size_t i) const noexcept {
    return {static_cast<std::byte*>(views_[i].buf), static_cast<std::size_t>(views_[i].len)};
  }
  [[nodiscard]] std::vector<bytes_view> bytes() const;

 private:
  std::vector<Py_buffer> views_;
};

// One pinned buffer.
class PinnedBuffer {
 public:
  PinnedBuffer(const pybind11::handle& object, PinnedBuffers::Access access);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept {
    return {static_cast<std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

// Strings of a sequence. Keeps the Python objects, whose memory the views show.
class Strings {
 public:
  explicit Strings(const pybind11::handle& sequence);

  [[nodiscard]] std::size_t size() const noexcept { return views_.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept { return views_[i]; }

 private:
  pybind11::tuple owner_;
  std::vector<std::string_view> views_;
};

// Non-negative integers of a sequence; Python's TypeError or OverflowError for anything else.
[[nodiscard]] std::vector<std::uint64_t> unsigned_integers(const pybind11::handle& sequence);

// A path as the file system spells it.
[[nodiscard]] std::string file_system_path(const pybind11::handle& path);

// ValueError unless a sequence is as long as the one it goes with.
void require_length(const char* name, std::size_t length, std::size_t expected);

// Stops a call when a signal's handler has raised, with what it raised.
[[nodiscard]] WorkOptions interruptible(std::size_t threads);

}  // namespace mckpt::python
