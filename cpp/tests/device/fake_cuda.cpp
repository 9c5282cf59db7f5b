// A libcuda.so.1 without a device, so that the table of functions and what is passed to them are tried everywhere. It
// has one device, whose memory is the host's; copies are done when they are enqueued, and misuse is an error.
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kInvalidDevice = 101;
constexpr int kInvalidContext = 201;
constexpr int kInvalidHandle = 400;
void* const kContext = reinterpret_cast<void*>(0xc0);

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): a library's state
std::mutex mutex;
std::set<void*> handles;
std::map<void*, std::size_t> registered;
std::size_t next_handle = 0x100;
thread_local std::vector<void*> contexts;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

bool has_context() { return !contexts.empty() && contexts.back() == kContext; }

int make(void** handle) {
  if (!has_context()) return kInvalidContext;
  const std::scoped_lock lock(mutex);
  *handle = reinterpret_cast<void*>(next_handle++);
  handles.insert(*handle);
  return kSuccess;
}

int require(void* handle) {
  if (!has_context()) return kInvalidContext;
  const std::scoped_lock lock(mutex);
  return handle == nullptr || handles.contains(handle) ? kSuccess : kInvalidHandle;
}

int destroy(void* handle) {
  const int result = require(handle);
  const std::scoped_lock lock(mutex);
  handles.erase(handle);
  return result;
}

bool is_registered(const std::byte* source, std::size_t size) {
  const std::scoped_lock lock(mutex);
  for (const auto& [memory, length] : registered) {
    const auto* begin = static_cast<const std::byte*>(memory);
    if (source >= begin && source + size <= begin + length) return true;
  }
  return false;
}

}  // namespace

#define FAKE_CUDA extern "C" __attribute__((visibility("default"))) int

FAKE_CUDA cuInit(unsigned flags) { return flags == 0 ? kSuccess : kInvalidValue; }
FAKE_CUDA cuGetErrorName(int error, const char** name) {
  *name = error == kInvalidDevice ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR_FAKE";
  return kSuccess;
}
FAKE_CUDA cuGetErrorString(int, const char** text) {
  *text = "misuse of the fake";
  return kSuccess;
}
FAKE_CUDA cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? kSuccess : kInvalidDevice;
}
FAKE_CUDA cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = kContext;
  return device == 0 ? kSuccess : kInvalidDevice;
}
FAKE_CUDA cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(context);
  return kSuccess;
}
FAKE_CUDA cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return kSuccess;
}
FAKE_CUDA cuMemHostRegister_v2(void* memory, std::size_t size, unsigned flags) {
  if (!has_context() || flags != 1) return kInvalidValue;
  const std::scoped_lock lock(mutex);
  return registered.emplace(memory, size).second ? kSuccess : kInvalidValue;
}
FAKE_CUDA cuMemHostUnregister(void* memory) {
  const std::scoped_lock lock(mutex);
  return registered.erase(memory) == 1 ? kSuccess : kInvalidValue;
}
FAKE_CUDA cuMemcpyHtoDAsync_v2(unsigned long long dest, const void* source, std::size_t size, void* stream) {
  if (stream == nullptr || require(stream) != kSuccess) return kInvalidHandle;
  if (!is_registered(static_cast<const std::byte*>(source), size)) return kInvalidValue;
  std::memcpy(reinterpret_cast<void*>(dest), source, size);
  return kSuccess;
}
FAKE_CUDA cuStreamCreate(void** stream, unsigned flags) { return flags == 1 ? make(stream) : kInvalidValue; }
FAKE_CUDA cuStreamDestroy_v2(void* stream) { return destroy(stream); }
FAKE_CUDA cuStreamSynchronize(void* stream) { return require(stream); }
FAKE_CUDA cuStreamWaitEvent(void* stream, void* event, unsigned flags) {
  return flags == 0 && require(stream) == kSuccess ? require(event) : kInvalidHandle;
}
FAKE_CUDA cuEventCreate(void** event, unsigned flags) { return flags == 3 ? make(event) : kInvalidValue; }
FAKE_CUDA cuEventDestroy_v2(void* event) { return destroy(event); }
FAKE_CUDA cuEventRecord(void* event, void* stream) {
  return require(event) == kSuccess ? require(stream) : kInvalidHandle;
}
FAKE_CUDA cuEventQuery(void* event) { return require(event); }
FAKE_CUDA cuEventSynchronize(void* event) { return require(event); }
