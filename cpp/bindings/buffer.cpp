#include "buffer.hpp"

#include "mckpt/error.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

void pin(PyObject* object, PinnedBuffers::Access access, Py_buffer& view) {
  const int flags = access == PinnedBuffers::Access::kWrite ? PyBUF_WRITABLE : PyBUF_SIMPLE;
  if (PyObject_GetBuffer(object, &view, flags) != 0) throw py::error_already_set();
}

// A tuple of its own, which nobody can change during the call.
py::tuple frozen(const py::handle& sequence) {
  PyObject* items = PySequence_Tuple(sequence.ptr());
  if (items == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::tuple>(items);
}

std::uint64_t unsigned_integer(PyObject* object) {
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
  if (!number) throw py::error_already_set();
  const std::uint64_t value = PyLong_AsUnsignedLongLong(number.ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

}  // namespace

PinnedBuffers::PinnedBuffers(const py::handle& sequence, Access access) {
  const py::tuple items = frozen(sequence);
  views_.reserve(items.size());
  try {
    for (std::size_t i = 0; i < items.size(); ++i) {
      Py_buffer view{};
      pin(PyTuple_GET_ITEM(items.ptr(), i), access, view);
      views_.push_back(view);
    }
  } catch (...) {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
    throw;
  }
}

PinnedBuffers::~PinnedBuffers() {
  const py::error_scope pending;
  for (Py_buffer& view : views_) PyBuffer_Release(&view);
}

std::vector<bytes_view> PinnedBuffers::bytes() const {
  std::vector<bytes_view> bytes;
  bytes.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) bytes.emplace_back((*this)[i]);
  return bytes;
}

PinnedBuffer::PinnedBuffer(const py::handle& object, PinnedBuffers::Access access) { pin(object.ptr(), access, view_); }

PinnedBuffer::~PinnedBuffer() {
  const py::error_scope pending;
  PyBuffer_Release(&view_);
}

Strings::Strings(const py::handle& sequence) : owner_(frozen(sequence)) {
  views_.reserve(owner_.size());
  for (std::size_t i = 0; i < owner_.size(); ++i) {
    py::ssize_t length = 0;
    const char* text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(owner_.ptr(), i), &length);
    if (text == nullptr) throw py::error_already_set();
    views_.emplace_back(text, static_cast<std::size_t>(length));
  }
}

std::vector<std::uint64_t> unsigned_integers(const py::handle& sequence) {
  const py::tuple items = frozen(sequence);
  std::vector<std::uint64_t> values;
  values.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) values.push_back(unsigned_integer(PyTuple_GET_ITEM(items.ptr(), i)));
  return values;
}

std::string file_system_path(const py::handle& path) {
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), static_cast<void*>(&encoded)) == 0) throw py::error_already_set();
  return std::string(py::reinterpret_steal<py::bytes>(encoded));
}

void require_length(const char* name, std::size_t length, std::size_t expected) {
  if (length == expected) return;
  throw Error(ErrorCode::kArgument,
              std::string(name) + " has " + std::to_string(length) + " items instead of " + std::to_string(expected));
}

WorkOptions interruptible(std::size_t threads) {
  return {threads, [] {
            const py::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
          }};
}

}  // namespace mckpt::python
