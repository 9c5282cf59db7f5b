#include "dispatch.hpp"

#include <cstdlib>

#include "isa.hpp"

namespace mckpt::digest {

namespace {

// The `min_busy` of a kernel is where, measured, it falls behind the next one: sixteen lanes of AVX-512 take 4.0 GB/s
// together, two of SHA-NI 2.65 GB/s, so ten lanes of AVX-512 are the slower choice. A portable lane takes 0.4 GB/s.
constexpr Sha256Kernel kPortableKernels[] = {{1, 1, sha256_compress_portable}};

#if defined(__x86_64__)

constexpr Sha256Kernel kShaniKernels[] = {{2, 2, sha256_compress_shani_x2}, {1, 1, sha256_compress_shani_x1}};
constexpr Sha256Kernel kAvx512WithShaniKernels[] = {
    {16, 11, sha256_compress_avx512_x16}, {2, 2, sha256_compress_shani_x2}, {1, 1, sha256_compress_shani_x1}};
constexpr Sha256Kernel kAvx512Kernels[] = {{16, 2, sha256_compress_avx512_x16}, {1, 1, sha256_compress_portable}};

void add_native(const CpuFeatures& cpu, Ranking<Sha256Implementation>& result) noexcept {
  const bool shani = cpu.sha && cpu.sse42;
  if (cpu.avx512 && shani) result.push_back({"avx512", kAvx512WithShaniKernels});
  if (cpu.avx512 && !shani) result.push_back({"avx512", kAvx512Kernels});
  if (shani) result.push_back({"shani", kShaniKernels});
}

void add_native(const CpuFeatures& cpu, Ranking<Crc32cImplementation>& result) noexcept {
  const bool sse42 = cpu.sse42 && cpu.pclmulqdq;
  if (sse42 && cpu.avx512 && cpu.vpclmulqdq) result.push_back({"avx512", crc32c_extend_avx512});
  if (sse42) result.push_back({"sse42", crc32c_extend_sse42});
}

#elif defined(__aarch64__)

constexpr Sha256Kernel kArmKernels[] = {{2, 2, sha256_compress_arm_x2}, {1, 1, sha256_compress_arm_x1}};

void add_native(const CpuFeatures& cpu, Ranking<Sha256Implementation>& result) noexcept {
  if (cpu.arm_sha2) result.push_back({"arm", kArmKernels});
}

void add_native(const CpuFeatures& cpu, Ranking<Crc32cImplementation>& result) noexcept {
  if (cpu.arm_crc32 && cpu.arm_pmull) result.push_back({"arm", crc32c_extend_arm});
}

#else

void add_native(const CpuFeatures& /*cpu*/, Ranking<Sha256Implementation>& /*result*/) noexcept {}
void add_native(const CpuFeatures& /*cpu*/, Ranking<Crc32cImplementation>& /*result*/) noexcept {}

#endif

// Returns the name that was asked for in vain, if one was.
template <class Implementation>
RequestedName prefer_from_environment(Ranking<Implementation>& implementations, const char* variable) noexcept {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): races only with setenv(), which nobody may call beside other threads
  const char* requested = std::getenv(variable);
  if (requested == nullptr || prefer(implementations, requested)) return {};
  return RequestedName(requested);
}

Dispatch make_dispatch() noexcept {
  Dispatch result{supported_sha256(), supported_crc32c(), {}, {}};
  result.unknown_sha256 = prefer_from_environment(result.sha256, "MCKPT_SHA256");
  result.unknown_crc32c = prefer_from_environment(result.crc32c, "MCKPT_CRC32C");
  return result;
}

}  // namespace

Ranking<Sha256Implementation> supported_sha256(const CpuFeatures& cpu) noexcept {
  Ranking<Sha256Implementation> result;
  add_native(cpu, result);
  result.push_back({"portable", kPortableKernels});
  return result;
}

Ranking<Crc32cImplementation> supported_crc32c(const CpuFeatures& cpu) noexcept {
  Ranking<Crc32cImplementation> result;
  add_native(cpu, result);
  result.push_back({"portable", crc32c_extend_portable});
  return result;
}

const Dispatch& dispatch() noexcept {
  static const Dispatch instance = make_dispatch();
  return instance;
}

}  // namespace mckpt::digest
