#include <pybind11/pybind11.h>

#include "bind.hpp"
#include "buffer.hpp"
#include "byte_export.hpp"
#include "mckpt/arena.hpp"
#include "mckpt/copier.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

using Access = PinnedBuffers::Access;

void copy(const py::object& dest, const py::object& offsets, const py::object& sources, std::size_t threads) {
  const PinnedBuffer to(dest, Access::kWrite);
  const PinnedBuffers from(sources, Access::kRead);
  const std::vector<std::uint64_t> at = unsigned_integers(offsets);
  const WorkOptions work = interruptible(threads);
  const py::gil_scoped_release released;  // the buffers are pinned
  copy_buffers(to.bytes(), at, from.bytes(), work);
}

void copy_pairs(const py::object& dests, const py::object& sources, std::size_t threads) {
  const PinnedBuffers to(dests, Access::kWrite);
  const PinnedBuffers from(sources, Access::kRead);
  std::vector<std::span<std::byte>> places;
  places.reserve(to.size());
  for (std::size_t i = 0; i < to.size(); ++i) places.push_back(to[i]);
  const WorkOptions work = interruptible(threads);
  const py::gil_scoped_release released;  // the buffers are pinned
  copy_each(places, from.bytes(), work);
}

}  // namespace

void bind_memory(py::module_& module) {
  py::class_<Arena> arena(module, "Arena", py::buffer_protocol(), py::is_final());
  arena.def(py::init<std::size_t>(), py::arg("size"));
  export_bytes(arena);
  module.def("copy_buffers", &copy, py::arg("dest"), py::arg("offsets"), py::arg("sources"), py::kw_only(),
             py::arg("threads") = 0);
  module.def("copy_each", &copy_pairs, py::arg("dests"), py::arg("sources"), py::kw_only(), py::arg("threads") = 0);
}

}  // namespace mckpt::python
