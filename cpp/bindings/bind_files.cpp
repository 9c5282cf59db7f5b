#include <pybind11/pybind11.h>

#include <cerrno>

#include "bind.hpp"
#include "buffer.hpp"
#include "mckpt/error.hpp"
#include "mckpt/file.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

// All of these may wait for the device for long, and touch no Python object while they do.

void drop(int fd, const py::object& path) {
  const FileRef file{fd, file_system_path(path)};
  const py::gil_scoped_release released;
  drop_cache(file);
}

void sync(int fd, const py::object& path) {
  const FileRef file{fd, file_system_path(path)};
  const py::gil_scoped_release released;
  sync_file(file);
}

// Python's own exceptions, as of `os.open`: this is one of its like.
int open_names(const py::object& path, bool readable) {
  const std::string directory = file_system_path(path);
  try {
    const py::gil_scoped_release released;
    return open_directory(directory, readable);
  } catch (const Error& error) {
    errno = error.context().system_errno;
  }
  PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path.ptr());
  throw py::error_already_set();
}

void sync_names(const py::object& path) {
  const std::string directory = file_system_path(path);
  const py::gil_scoped_release released;
  sync_directory(directory);
}

bool rename(const py::object& source, const py::object& target) {
  const std::string from = file_system_path(source);
  const std::string to = file_system_path(target);
  const py::gil_scoped_release released;
  return rename_noreplace(from, to);
}

}  // namespace

void bind_files(py::module_& module) {
  module.def("drop_cache", &drop, py::arg("fd"), py::arg("path"));
  module.def("sync_file", &sync, py::arg("fd"), py::arg("path"));
  module.def("open_directory", &open_names, py::arg("path"), py::arg("readable") = false);
  module.def("sync_directory", &sync_names, py::arg("path"));
  module.def("rename_noreplace", &rename, py::arg("source"), py::arg("target"));
}

}  // namespace mckpt::python
