// The buffer protocol of objects that own bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace mckpt::python {

// Makes `cls`, whose objects have bytes(), export them, writable. A view holds a reference to its object, which
// therefore lives as long as its views.
template <class Owner>
void export_bytes(pybind11::class_<Owner>& cls) {
  cls.def("__len__", [](const Owner& owner) { return owner.bytes().size(); });
  cls.def_buffer([](const Owner& owner) {
    static std::uint8_t nothing = 0;  // an empty buffer has an address too
    const std::span<std::byte> bytes = owner.bytes();
    return pybind11::buffer_info(bytes.empty() ? &nothing : reinterpret_cast<std::uint8_t*>(bytes.data()),
                                 static_cast<pybind11::ssize_t>(bytes.size()));
  });
}

}  // namespace mckpt::python
