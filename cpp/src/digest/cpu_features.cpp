#include "cpu_features.hpp"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace mckpt::digest {

#if defined(__x86_64__)

namespace {

struct CpuidLeaf {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
};

// All zero where the CPU does not have the leaf.
CpuidLeaf cpuid(unsigned leaf) noexcept {
  CpuidLeaf result;
  __get_cpuid_count(leaf, 0, &result.eax, &result.ebx, &result.ecx, &result.edx);
  return result;
}

// Written out because the compiler's intrinsic would need -mxsave for this file.
std::uint64_t read_xcr0() noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

constexpr bool has_all(std::uint64_t value, std::uint64_t mask) noexcept { return (value & mask) == mask; }

// Bits of XCR0: SSE, AVX, and the three parts of the AVX-512 state.
constexpr std::uint64_t kXcr0Avx512 = 0x02 | 0x04 | 0x20 | 0x40 | 0x80;

}  // namespace

CpuFeatures detect_cpu_features() noexcept {
  const CpuidLeaf basic = cpuid(1);
  const CpuidLeaf extended = cpuid(7);
  CpuFeatures features;
  features.sse42 = has_all(basic.ecx, bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2);
  features.pclmulqdq = has_all(basic.ecx, bit_PCLMUL);
  features.sha = has_all(extended.ebx, bit_SHA);
  const bool os_saves_avx512 = has_all(basic.ecx, bit_OSXSAVE) && has_all(read_xcr0(), kXcr0Avx512);
  features.avx512 = os_saves_avx512 && has_all(extended.ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512VL);
  features.vpclmulqdq = has_all(extended.ecx, bit_VPCLMULQDQ);
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect_cpu_features() noexcept {
  const unsigned long capabilities = getauxval(AT_HWCAP);
  CpuFeatures features;
  features.arm_sha2 = (capabilities & HWCAP_SHA2) != 0;
  features.arm_crc32 = (capabilities & HWCAP_CRC32) != 0;
  features.arm_pmull = (capabilities & HWCAP_PMULL) != 0;
  return features;
}

#else

CpuFeatures detect_cpu_features() noexcept { return {}; }

#endif

}  // namespace mckpt::digest
