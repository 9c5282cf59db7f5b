// The only place where the core's errors become Python's.
#include <pybind11/pybind11.h>

#include <cerrno>
#include <exception>

#include "bind.hpp"
#include "mckpt/error.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

py::object or_none(const std::string& text) {
  if (text.empty()) return py::none();
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeFSDefaultAndSize(text.data(), static_cast<py::ssize_t>(text.size())));
}

py::object or_none(std::int64_t offset) { return offset < 0 ? py::object(py::none()) : py::int_(offset); }

// `detail` is what sets the classes' arguments apart.
void raise(const char* type, const Error& error, const char* detail, const py::object& value) {
  const ErrorContext& where = error.context();
  const py::object cls = py::module_::import("model_checkpoint.errors").attr(type);
  const py::object raised =
      cls(error.what(), py::arg("path") = or_none(where.path), py::arg("tensor") = or_none(where.tensor),
          py::arg("offset") = or_none(where.offset), py::arg(detail) = value);
  PyErr_SetObject(cls.ptr(), raised.ptr());
}

void raise_storage_error(const char* type, const Error& error) {
  const int system_errno = error.context().system_errno;
  raise(type, error, "errno", system_errno == 0 ? py::object(py::none()) : py::int_(system_errno));
}

void raise_corruption(const char* rule, const Error& error) { raise("CorruptionError", error, "rule", py::str(rule)); }

void raise_exists(const Error& error) {
  const py::tuple arguments = py::make_tuple(EEXIST, error.what(), or_none(error.context().path));
  PyErr_SetObject(PyExc_FileExistsError, arguments.ptr());
}

void raise_argument(const Error& error) {
  const std::string& tensor = error.context().tensor;
  PyErr_SetString(PyExc_ValueError, tensor.empty() ? error.what() : (error.what() + (" (" + tensor + ")")).c_str());
}

void raise_device_error(const Error& error) {
  const py::object cls = py::module_::import("model_checkpoint.errors").attr("DeviceError");
  const py::object raised = cls(error.what(), py::arg("tensor") = or_none(error.context().tensor));
  PyErr_SetObject(cls.ptr(), raised.ptr());
}

void translate(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kIo:
      return raise_storage_error("StorageError", error);
    case ErrorCode::kDiskFull:
      return raise_storage_error("DiskFullError", error);
    case ErrorCode::kTruncated:
      return raise_corruption("length", error);
    case ErrorCode::kCorrupt:
      return raise_corruption("digest", error);
    case ErrorCode::kExists:
      return raise_exists(error);
    case ErrorCode::kArgument:
      return raise_argument(error);
    case ErrorCode::kDevice:
      return raise_device_error(error);
  }
}

}  // namespace

void bind_errors() {
  py::register_local_exception_translator(
      [](std::exception_ptr thrown) {  // NOLINT(performance-unnecessary-value-param): pybind11's type
        try {
          if (thrown) std::rethrow_exception(thrown);
        } catch (const Error& error) {
          translate(error);
        }
      });
}

}  // namespace mckpt::python
