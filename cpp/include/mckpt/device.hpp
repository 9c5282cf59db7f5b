// Memory of accelerators as a place to load to.
#pragma once

#include <cstdint>
#include <span>

#include "mckpt/digest.hpp"
#include "mckpt/file.hpp"
#include "mckpt/parallel.hpp"
#include "mckpt/reader.hpp"

namespace mckpt {

using DeviceAddress = std::uint64_t;

// A stream of the driver as it is passed around: the caller's own, or 0 for the device's default stream.
using DeviceStream = std::uintptr_t;

class PinnedRing;

// The buffers through which the process copies to one CUDA device, made when it is first asked for. `ordinal` counts
// the devices that CUDA_VISIBLE_DEVICES leaves. kDevice where there is no driver or no such device. The driver is
// opened at run time, and nothing here is linked to it.
//
// The ring takes the budget of staging memory (mckpt/staging.hpp) once more for each device, page-locked, and keeps
// what it took. The child of a fork starts over, as far as CUDA lets it.
[[nodiscard]] PinnedRing& cuda_ring(int ordinal);

// Where a call loads to.
struct DeviceTarget {
  PinnedRing& ring;
  DeviceStream stream = 0;                   // copies begin after what was enqueued on it before the call
  std::span<const DeviceAddress> addresses;  // one for each span or source
};

// As read_spans, into device memory: `dest` of the spans is ignored. Bytes are verified before they are copied to the
// device. Returns, or throws, when no copy is in flight; kDevice where the device fails.
ReadResult read_spans_to_device(const FileRef& file, std::span<const FileSpan> spans, const DeviceTarget& target,
                                const ReadOptions& options);

// Copies host memory of any kind to the device, in parallel. Returns, or throws, when no copy is in flight.
void copy_to_device(const DeviceTarget& target, std::span<const bytes_view> sources, const WorkOptions& options = {});

}  // namespace mckpt
