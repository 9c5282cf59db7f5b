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

py::dict where(const ErrorContext& context) {
  py::dict arguments;
  arguments["path"] = or_none(context.path);
  arguments["tensor"] = or_none(context.tensor);
  arguments["offset"] = or_none(context.offset);
  return arguments;
}

void raise(const char* type, const Error& error, const py::dict& arguments) {
  const py::object cls = py::module_::import("model_checkpoint.errors").attr(type);
  PyErr_SetObject(cls.ptr(), cls(error.what(), **arguments).ptr());
}

void raise_storage_error(const char* type, const Error& error) {
  py::dict arguments = where(error.context());
  const int system_errno = error.context().system_errno;
  arguments["errno"] = system_errno == 0 ? py::object(py::none()) : py::int_(system_errno);
  raise(type, error, arguments);
}

void raise_corruption(const char* rule, const Error& error) {
  py::dict arguments = where(error.context());
  arguments["rule"] = rule;
  raise("CorruptionError", error, arguments);
}

void raise_exists(const Error& error) {
  const py::tuple arguments = py::make_tuple(EEXIST, error.what(), or_none(error.context().path));
  PyErr_SetObject(PyExc_FileExistsError, arguments.ptr());
}

void raise_argument(const Error& error) {
  const std::string& tensor = error.context().tensor;
  PyErr_SetString(PyExc_ValueError, tensor.empty() ? error.what() : (error.what() + (" (" + tensor + ")")).c_str());
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
  }
}

}  // namespace

void bind_errors() {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& error) {
      translate(error);
    }
  });
}

}  // namespace mckpt::python
