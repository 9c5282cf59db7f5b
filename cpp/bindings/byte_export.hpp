// The buffer protocol of objects that own bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <span>

namespace mckpt::python {

// Writable bytes. The view that Python makes of it holds a reference to the exporting object, which therefore lives as
// long as its views.
inline pybind11::buffer_info export_bytes(std::span<std::byte> bytes) {
  static std::byte nothing{};  // an empty buffer has an address too
  auto* data = bytes.empty() ? &nothing : bytes.data();
  return {reinterpret_cast<std::uint8_t*>(data), static_cast<pybind11::ssize_t>(bytes.size())};
}

}  // namespace mckpt::python
