#include <pybind11/pybind11.h>

#include <string>

#include "bind.hpp"
#include "buffer.hpp"
#include "mckpt/chunk_table.hpp"
#include "mckpt/digest.hpp"
#include "mckpt/error.hpp"
#include "mckpt/fault_guard.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

using Access = PinnedBuffers::Access;

py::bytes as_bytes(bytes_view bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void check_not_lost(const std::byte* lost) {
  if (lost != nullptr) throw Error(ErrorCode::kTruncated, "the bytes are mapped from a file that has shrunk");
}

py::bytes digest(const py::object& data) {
  const PinnedBuffer pinned(data, Access::kRead);
  digest256 result;
  {
    const py::gil_scoped_release released;  // the buffer is pinned
    check_not_lost(lost_address([&] { result = sha256(pinned.bytes()); }));
  }
  return as_bytes(result);
}

std::uint32_t checksum(const py::object& data, std::uint32_t crc) {
  const PinnedBuffer pinned(data, Access::kRead);
  const py::gil_scoped_release released;  // the buffer is pinned
  std::uint32_t result = 0;
  check_not_lost(lost_address([&] { result = crc32c(pinned.bytes(), crc); }));
  return result;
}

py::bytes chunk_table(const py::object& buffers, std::size_t threads) {
  const PinnedBuffers pinned(buffers, Access::kRead);
  const WorkOptions work = interruptible(threads);
  std::vector<std::byte> table;
  {
    const py::gil_scoped_release released;  // the buffers are pinned
    table = digest_chunks(pinned.bytes(), work);
  }
  return as_bytes(table);
}

py::list names(const std::vector<std::string_view>& kernels) {
  py::list result;
  for (const std::string_view name : kernels) result.append(py::str(name.data(), name.size()));
  return result;
}

py::dict kernels() {
  py::dict result;
  result["sha256"] = names(sha256_kernels());
  result["crc32c"] = names(crc32c_kernels());
  return result;
}

void warn_of_kernels() {
  const std::string warning = kernel_warning();
  if (!warning.empty() && PyErr_WarnEx(PyExc_RuntimeWarning, warning.c_str(), 1) != 0) throw py::error_already_set();
}

}  // namespace

void bind_digests(py::module_& module) {
  warn_of_kernels();
  module.attr("CHUNK_BYTES") = kChunkBytes;
  module.attr("LEAF_BYTES") = kLeafBytes;
  module.def("sha256", &digest, py::arg("data"), py::pos_only());
  module.def("crc32c", &checksum, py::arg("data"), py::arg("crc") = 0, py::pos_only());
  module.def("chunk_count", &chunk_count, py::arg("nbytes"), py::pos_only());
  module.def("digest_chunks", &chunk_table, py::arg("buffers"), py::kw_only(), py::arg("threads") = 0);
  module.def("kernels", &kernels);
}

}  // namespace mckpt::python
