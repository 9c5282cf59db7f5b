#include "dispatch.hpp"

#include <cstdlib>

#include "cpu_features.hpp"
#include "isa.hpp"

namespace mckpt::digest {

namespace {

constexpr Sha256Kernel kPortable = {.lanes = 1, .min_busy = 1, .compress = sha256_compress_portable};
constexpr Sha256Kernel kPortableChain[] = {kPortable};

template <class Implementation>
std::string prefer_from_environment(std::vector<Implementation>& implementations, const char* variable) {
  const char* requested = std::getenv(variable);
  if (requested == nullptr || *requested == '\0') return {};
  return prefer(implementations, requested, variable);
}

Dispatch make_dispatch() {
  Dispatch result{supported_sha256(), supported_crc32c(), {}};
  result.warning = prefer_from_environment(result.sha256, "MCKPT_SHA256");
  const std::string second = prefer_from_environment(result.crc32c, "MCKPT_CRC32C");
  if (!result.warning.empty() && !second.empty()) result.warning.append("; ");
  result.warning.append(second);
  return result;
}

}  // namespace

std::vector<Sha256Implementation> supported_sha256() {
  std::vector<Sha256Implementation> result;
  result.push_back({"portable", kPortableChain});
  return result;
}

std::vector<Crc32cImplementation> supported_crc32c() {
  std::vector<Crc32cImplementation> result;
  result.push_back({"portable", crc32c_extend_portable});
  return result;
}

const Dispatch& dispatch() noexcept {
  static const Dispatch instance = make_dispatch();
  return instance;
}

}  // namespace mckpt::digest
