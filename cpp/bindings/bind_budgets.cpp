#include <pybind11/pybind11.h>

#include "bind.hpp"
#include "mckpt/parallel.hpp"
#include "mckpt/staging.hpp"

namespace py = pybind11;

namespace mckpt::python {

void bind_budgets(py::module_& module) {
  module.def("set_threads", &set_threads, py::arg("count"));
  module.def("get_threads", &get_threads);
  module.def("set_staging_bytes", &set_staging_bytes, py::arg("count"));
  module.def("get_staging_bytes", &get_staging_bytes);
}

}  // namespace mckpt::python
