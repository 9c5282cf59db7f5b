// What the CPU offers and the operating system lets us use.
#pragma once

namespace mckpt::digest {

struct CpuFeatures {
  // x86-64
  bool sse42 = false;  // with SSSE3 and SSE4.1
  bool pclmulqdq = false;
  bool sha = false;
  bool avx512 = false;  // F, BW and VL, and the OS saves the registers
  bool vpclmulqdq = false;
  // Armv8
  bool arm_sha2 = false;
  bool arm_crc32 = false;
  bool arm_pmull = false;
};

[[nodiscard]] CpuFeatures detect_cpu_features() noexcept;

}  // namespace mckpt::digest
