#include "stage_seconds.hpp"

#include <array>
#include <chrono>
#include <cstddef>

namespace py = pybind11;

namespace mckpt::python {

py::dict stage_seconds(const StageTimes& times) {
  // In the order of Stage. monitoring/stages.py knows them by these names.
  static constexpr std::array<const char*, kStageCount> kNames{"read", "write", "hash", "copy", "memory", "wait"};
  py::dict seconds;
  for (std::size_t i = 0; i < kStageCount; ++i)
    if (times.by_stage[i].count() != 0) seconds[kNames[i]] = std::chrono::duration<double>(times.by_stage[i]).count();
  return seconds;
}

}  // namespace mckpt::python
