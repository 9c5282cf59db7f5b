// Stage times as Python sees them.
#pragma once

#include <pybind11/pybind11.h>

#include "mckpt/stage_times.hpp"

namespace mckpt::python {

// Thread-seconds by the name of a stage; those that took no time are left out.
pybind11::dict stage_seconds(const StageTimes& times);

}  // namespace mckpt::python
