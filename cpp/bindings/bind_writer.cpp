#include <pybind11/pybind11.h>

#include "bind.hpp"
#include "buffer.hpp"
#include "choices.hpp"
#include "mckpt/writer.hpp"
#include "stage_seconds.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

std::vector<Segment> zip(const PinnedBuffers& buffers, const Strings& names) {
  require_length("names", names.size(), buffers.size());
  std::vector<Segment> segments;
  segments.reserve(buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) segments.push_back({buffers[i], names[i]});
  return segments;
}

WriteResult write(int fd, const py::object& path, const py::object& segments, const py::object& names,
                  std::uint64_t data_offset, const std::string& io, std::size_t threads) {
  const PinnedBuffers buffers(segments, PinnedBuffers::Access::kRead);
  const Strings tensors(names);
  const std::vector<Segment> zipped = zip(buffers, tensors);
  const FileRef file{fd, file_system_path(path)};
  const WriteOptions options{io_mode(io), interruptible(threads)};
  const py::gil_scoped_release released;  // the buffers are pinned, the names held
  return write_segments(file, zipped, data_offset, options);
}

py::bytes table_of(const WriteResult& result) {
  return {reinterpret_cast<const char*>(result.table.data()), result.table.size()};
}

}  // namespace

void bind_writer(py::module_& module) {
  py::class_<WriteResult>(module, "WriteResult", py::is_final())
      .def_property_readonly("table", &table_of)
      .def_readonly("direct", &WriteResult::direct)
      .def_readonly("nbytes", &WriteResult::bytes)
      .def_property_readonly("stage_seconds", [](const WriteResult& result) { return stage_seconds(result.times); });
  module.def("write_segments", &write, py::arg("fd"), py::arg("path"), py::arg("segments"), py::arg("names"),
             py::kw_only(), py::arg("data_offset"), py::arg("io") = "auto", py::arg("threads") = 0);
}

}  // namespace mckpt::python
