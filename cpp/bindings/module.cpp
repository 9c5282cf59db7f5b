#include <pybind11/pybind11.h>

#include "bind.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The compiled core: it moves, hashes and checks bytes. See _core.pyi.";
  mckpt::python::bind_errors();
  mckpt::python::bind_budgets(module);
  mckpt::python::bind_digests(module);
  mckpt::python::bind_memory(module);
  mckpt::python::bind_device(module);
  mckpt::python::bind_writer(module);
  mckpt::python::bind_mapping(module);
  mckpt::python::bind_reader(module);
  mckpt::python::bind_files(module);
}
