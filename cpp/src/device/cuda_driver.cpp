#include "cuda_driver.hpp"

#include <dlfcn.h>

#include "mckpt/error.hpp"

namespace mckpt {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

// Never closed: the driver does not take it well, and others in the process use it.
void* open_library() {
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw Error(ErrorCode::kDevice,
                std::string("CUDA cannot be used: ") + dlerror());  // NOLINT(concurrency-mt-unsafe): glibc's is
  return library;
}

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr)
    throw Error(ErrorCode::kDevice, std::string("CUDA cannot be used: ") + kLibrary + " has no " + name);
}

// The names are those that cuda.h gives to the functions of 64-bit programs.
CudaDriver load_driver() {
  void* const library = open_library();
  CudaDriver driver{};
  find(library, "cuInit", driver.cuInit);
  find(library, "cuGetErrorName", driver.cuGetErrorName);
  find(library, "cuGetErrorString", driver.cuGetErrorString);
  find(library, "cuDeviceGet", driver.cuDeviceGet);
  find(library, "cuDevicePrimaryCtxRetain", driver.cuDevicePrimaryCtxRetain);
  find(library, "cuCtxPushCurrent_v2", driver.cuCtxPushCurrent);
  find(library, "cuCtxPopCurrent_v2", driver.cuCtxPopCurrent);
  find(library, "cuMemHostRegister_v2", driver.cuMemHostRegister);
  find(library, "cuMemHostUnregister", driver.cuMemHostUnregister);
  find(library, "cuMemcpyHtoDAsync_v2", driver.cuMemcpyHtoDAsync);
  find(library, "cuStreamCreate", driver.cuStreamCreate);
  find(library, "cuStreamDestroy_v2", driver.cuStreamDestroy);
  find(library, "cuStreamSynchronize", driver.cuStreamSynchronize);
  find(library, "cuStreamWaitEvent", driver.cuStreamWaitEvent);
  find(library, "cuEventCreate", driver.cuEventCreate);
  find(library, "cuEventDestroy_v2", driver.cuEventDestroy);
  find(library, "cuEventRecord", driver.cuEventRecord);
  find(library, "cuEventQuery", driver.cuEventQuery);
  find(library, "cuEventSynchronize", driver.cuEventSynchronize);
  return driver;
}

std::string described(const CudaDriver& driver, cuda::Result result) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (driver.cuGetErrorName(result, &name) != cuda::kSuccess) return "CUDA error " + std::to_string(result);
  driver.cuGetErrorString(result, &text);
  return std::string(name) + (text == nullptr ? "" : std::string(": ") + text);
}

}  // namespace

const CudaDriver& CudaDriver::instance() {
  static const CudaDriver driver = [] {
    const CudaDriver loaded = load_driver();
    const cuda::Result result = loaded.cuInit(0);
    if (result != cuda::kSuccess)
      throw Error(ErrorCode::kDevice, "CUDA cannot be used: " + described(loaded, result) + " (cuInit)");
    return loaded;
  }();
  return driver;
}

void CudaDriver::require(cuda::Result result, const char* call, int ordinal) const {
  if (result == cuda::kSuccess) return;
  throw Error(ErrorCode::kDevice, described(*this, result) + " (" + call + ", cuda:" + std::to_string(ordinal) + ")");
}

}  // namespace mckpt
