// NVIDIA's driver, opened at run time: nothing of CUDA is needed to build or to install this.
#pragma once

#include <cstddef>
#include <string>

#include "mckpt/device.hpp"

namespace mckpt {

// Types of cuda.h, which has had them since CUDA 4.
namespace cuda {

using Result = int;
using Device = int;
using Context = struct ContextStruct*;
using Stream = struct StreamStruct*;
using Event = struct EventStruct*;

inline constexpr Result kSuccess = 0;
inline constexpr Result kErrorNotReady = 600;
inline constexpr unsigned kStreamNonBlocking = 1;  // does not wait for the default stream, nor that one for it
inline constexpr unsigned kEventBlockingSync = 1;  // who waits sleeps, rather than spins
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kMemHostRegisterPortable = 1;  // page-locked for all contexts

}  // namespace cuda

// Functions of libcuda.so.1. Members are named as what they point to, without the version.
struct CudaDriver {
  cuda::Result (*cuInit)(unsigned flags);
  cuda::Result (*cuGetErrorName)(cuda::Result error, const char** name);
  cuda::Result (*cuGetErrorString)(cuda::Result error, const char** text);
  cuda::Result (*cuDeviceGet)(cuda::Device* device, int ordinal);
  cuda::Result (*cuDevicePrimaryCtxRetain)(cuda::Context* context, cuda::Device device);
  cuda::Result (*cuCtxPushCurrent)(cuda::Context context);
  cuda::Result (*cuCtxPopCurrent)(cuda::Context* context);
  cuda::Result (*cuMemHostRegister)(void* memory, std::size_t size, unsigned flags);
  cuda::Result (*cuMemHostUnregister)(void* memory);
  cuda::Result (*cuMemcpyHtoDAsync)(DeviceAddress dest, const void* source, std::size_t size, cuda::Stream stream);
  cuda::Result (*cuStreamCreate)(cuda::Stream* stream, unsigned flags);
  cuda::Result (*cuStreamDestroy)(cuda::Stream stream);
  cuda::Result (*cuStreamSynchronize)(cuda::Stream stream);
  cuda::Result (*cuStreamWaitEvent)(cuda::Stream stream, cuda::Event event, unsigned flags);
  cuda::Result (*cuEventCreate)(cuda::Event* event, unsigned flags);
  cuda::Result (*cuEventDestroy)(cuda::Event event);
  cuda::Result (*cuEventRecord)(cuda::Event event, cuda::Stream stream);
  cuda::Result (*cuEventQuery)(cuda::Event event);
  cuda::Result (*cuEventSynchronize)(cuda::Event event);

  // The driver of this process, initialized. kDevice where there is none, or one that lacks a function.
  static const CudaDriver& instance();

  // kDevice, with the error's name and text, unless `result` is a success. `call` and `ordinal` are for the message.
  void require(cuda::Result result, const char* call, int ordinal) const;
};

}  // namespace mckpt
