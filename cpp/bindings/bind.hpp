// What the module consists of: one function for each public header or family of them.
#pragma once

#include <pybind11/pybind11.h>

namespace mckpt::python {

void bind_errors();                     // errors.cpp
void bind_budgets(pybind11::module_&);  // bind_budgets.cpp: parallel.hpp, staging.hpp
void bind_digests(pybind11::module_&);  // bind_digests.cpp: digest.hpp, chunk_table.hpp
void bind_device(pybind11::module_&);   // bind_device.cpp: device.hpp, but for its reads
void bind_memory(pybind11::module_&);   // bind_memory.cpp: arena.hpp, copier.hpp
void bind_writer(pybind11::module_&);   // bind_writer.cpp: writer.hpp
void bind_mapping(pybind11::module_&);  // bind_mapping.cpp: MappedFile
void bind_reader(pybind11::module_&);   // bind_reader.cpp: reader.hpp, and its like in device.hpp
void bind_files(pybind11::module_&);    // bind_files.cpp: file.hpp

}  // namespace mckpt::python
