#include <pybind11/pybind11.h>

#include "bind.hpp"
#include "buffer.hpp"
#include "mckpt/device.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

void copy(const py::object& addresses, const py::object& sources, int device, DeviceStream stream,
          std::size_t threads) {
  const std::vector<DeviceAddress> to = unsigned_integers(addresses);
  const PinnedBuffers from(sources, PinnedBuffers::Access::kRead);
  const WorkOptions work = interruptible(threads);
  const py::gil_scoped_release released;  // the buffers are pinned
  copy_to_device({cuda_ring(device), stream, to}, from.bytes(), work);
}

}  // namespace

void bind_device(py::module_& module) {
  module.def("copy_to_cuda", &copy, py::arg("addresses"), py::arg("sources"), py::kw_only(), py::arg("device"),
             py::arg("stream"), py::arg("threads") = 0);
}

}  // namespace mckpt::python
