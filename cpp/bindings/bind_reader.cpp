#include <pybind11/pybind11.h>

#include <optional>

#include "bind.hpp"
#include "buffer.hpp"
#include "byte_export.hpp"
#include "choices.hpp"
#include "mckpt/device.hpp"
#include "mckpt/error.hpp"
#include "mckpt/reader.hpp"
#include "stage_seconds.hpp"

namespace py = pybind11;

namespace mckpt::python {
namespace {

using Access = PinnedBuffers::Access;

// The arguments that describe spans, as C++ values; they must outlive the spans.
class SpanArguments {
 public:
  SpanArguments(const py::object& offsets, const py::object& lengths, const py::object& names,
                const py::object& first_chunks)
      : offsets_(unsigned_integers(offsets)), lengths_(unsigned_integers(lengths)), names_(names) {
    require_length("lengths", lengths_.size(), offsets_.size());
    require_length("names", names_.size(), offsets_.size());
    first_chunks_ =
        first_chunks.is_none() ? std::vector<std::uint64_t>(offsets_.size()) : unsigned_integers(first_chunks);
    require_length("first_chunks", first_chunks_.size(), offsets_.size());
  }

  void set_dests(const py::object& dests) {
    if (dests.is_none()) return;
    dests_.emplace(dests, Access::kWrite);
    require_length("dests", dests_->size(), offsets_.size());
    for (std::size_t i = 0; i < offsets_.size(); ++i) require_length("a destination", (*dests_)[i].size(), lengths_[i]);
  }

  [[nodiscard]] std::vector<FileSpan> spans() const {
    std::vector<FileSpan> spans;
    spans.reserve(offsets_.size());
    for (std::size_t i = 0; i < offsets_.size(); ++i)
      spans.push_back({offsets_[i], lengths_[i], dests_ ? (*dests_)[i].data() : nullptr, first_chunks_[i], names_[i]});
    return spans;
  }

 private:
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint64_t> lengths_;
  Strings names_;
  std::vector<std::uint64_t> first_chunks_;
  std::optional<PinnedBuffers> dests_;
};

// The chunk table, if there is one.
class TableArgument {
 public:
  TableArgument(const py::object& table, const py::object& first_chunks, Check check) {
    if (check != Check::kNone && (table.is_none() || first_chunks.is_none()))
      throw Error(ErrorCode::kArgument, "a check needs table and first_chunks");
    if (!table.is_none()) pinned_.emplace(table, Access::kRead);
  }
  [[nodiscard]] bytes_view bytes() const { return pinned_ ? pinned_->bytes() : bytes_view{}; }

 private:
  std::optional<PinnedBuffer> pinned_;
};

ReadResult read(int fd, const py::object& path, const py::object& offsets, const py::object& lengths,
                const py::object& dests, const py::object& names, const py::object& table,
                const py::object& first_chunks, const std::string& check, const std::string& io, std::size_t threads) {
  const TableArgument chunks(table, first_chunks, check_kind(check));
  SpanArguments arguments(offsets, lengths, names, first_chunks);
  arguments.set_dests(dests);
  const FileRef file{fd, file_system_path(path)};
  const ReadOptions options{chunks.bytes(), check_kind(check), io_mode(io), interruptible(threads)};
  const py::gil_scoped_release released;  // the buffers are pinned, the names held
  return read_spans(file, arguments.spans(), options);
}

ReadResult read_to_cuda(int fd, const py::object& path, const py::object& offsets, const py::object& lengths,
                        const py::object& addresses, const py::object& names, int device, DeviceStream stream,
                        const py::object& table, const py::object& first_chunks, const std::string& check,
                        const std::string& io, std::size_t threads) {
  const TableArgument chunks(table, first_chunks, check_kind(check));
  const SpanArguments arguments(offsets, lengths, names, first_chunks);
  const std::vector<DeviceAddress> to = unsigned_integers(addresses);
  const FileRef file{fd, file_system_path(path)};
  const ReadOptions options{chunks.bytes(), check_kind(check), io_mode(io), interruptible(threads)};
  const py::gil_scoped_release released;  // the table is pinned, the names held
  return read_spans_to_device(file, arguments.spans(), {cuda_ring(device), stream, to}, options);
}

py::dict verify(const MappedFile& mapping, const py::object& path, const py::object& offsets, const py::object& lengths,
                const py::object& names, const py::object& table, const py::object& first_chunks,
                const std::string& check, std::size_t threads) {
  const TableArgument chunks(table, first_chunks, check_kind(check));
  const SpanArguments arguments(offsets, lengths, names, first_chunks);
  const std::string file = file_system_path(path);
  const ReadOptions options{chunks.bytes(), check_kind(check), IoMode::kBuffered, interruptible(threads)};
  StageTimes times;
  {
    const py::gil_scoped_release released;  // the caller holds the mapping, the table is pinned
    times = verify_mapping(mapping, file, arguments.spans(), options);
  }
  return stage_seconds(times);
}

std::unique_ptr<MappedFile> map(int fd, const py::object& path, std::size_t length) {
  const FileRef file{fd, file_system_path(path)};
  const py::gil_scoped_release released;
  return std::make_unique<MappedFile>(file, length);
}

}  // namespace

void bind_mapping(py::module_& module) {
  py::class_<MappedFile> mapping(module, "Mapping", py::buffer_protocol(), py::is_final());
  export_bytes(mapping);
  module.def("map_file", &map, py::arg("fd"), py::arg("path"), py::arg("length"));
  module.def("verify_mapping", &verify, py::arg("mapping"), py::arg("path"), py::arg("offsets"), py::arg("lengths"),
             py::arg("names"), py::kw_only(), py::arg("table"), py::arg("first_chunks"), py::arg("check") = "sha256",
             py::arg("threads") = 0);
}

void bind_reader(py::module_& module) {
  py::class_<ReadResult>(module, "ReadResult", py::is_final())
      .def_readonly("direct_bytes", &ReadResult::direct_bytes)
      .def_readonly("buffered_bytes", &ReadResult::buffered_bytes)
      .def_property_readonly("stage_seconds", [](const ReadResult& result) { return stage_seconds(result.times); });
  module.def("read_spans", &read, py::arg("fd"), py::arg("path"), py::arg("offsets"), py::arg("lengths"),
             py::arg("dests"), py::arg("names"), py::kw_only(), py::arg("table") = py::none(),
             py::arg("first_chunks") = py::none(), py::arg("check") = "sha256", py::arg("io") = "auto",
             py::arg("threads") = 0);
  module.def("read_spans_to_cuda", &read_to_cuda, py::arg("fd"), py::arg("path"), py::arg("offsets"),
             py::arg("lengths"), py::arg("addresses"), py::arg("names"), py::kw_only(), py::arg("device"),
             py::arg("stream"), py::arg("table") = py::none(), py::arg("first_chunks") = py::none(),
             py::arg("check") = "sha256", py::arg("io") = "auto", py::arg("threads") = 0);
}

}  // namespace mckpt::python
