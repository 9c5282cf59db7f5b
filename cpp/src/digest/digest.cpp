#include "mckpt/digest.hpp"

#include "chunk.hpp"
#include "dispatch.hpp"
#include "sha256_lanes.hpp"

namespace mckpt {

namespace {

template <class Implementation>
std::vector<std::string_view> names_of(const digest::Ranking<Implementation>& implementations) {
  std::vector<std::string_view> names;
  names.reserve(implementations.size());
  for (const Implementation& implementation : implementations) names.push_back(implementation.name);
  return names;
}

}  // namespace

digest256 sha256(bytes_view data) noexcept {
  digest256 result;
  const digest::Message message = {data.data(), data.size(), result.data()};
  const auto one_lane = digest::dispatch().sha256.front().kernels.last(1);
  digest::hash_messages(one_lane, digest::kInitialState, {&message, 1});
  return result;
}

std::uint32_t crc32c(bytes_view data, std::uint32_t crc) noexcept {
  return digest::dispatch().crc32c.front().extend(crc, data.data(), data.size());
}

void chunk_digests(std::span<const bytes_view> chunks, std::span<digest256> out) noexcept {
  digest::chunk_digests_with(digest::dispatch().sha256.front(), chunks, out);
}

std::vector<std::string_view> sha256_kernels() { return names_of(digest::dispatch().sha256); }

std::vector<std::string_view> crc32c_kernels() { return names_of(digest::dispatch().crc32c); }

std::string kernel_warning() {
  const digest::Dispatch& chosen = digest::dispatch();
  const auto unknown = chosen.unknown_sha256.view();
  std::string warning = unknown.empty() ? "" : digest::warning_of(chosen.sha256, unknown, "MCKPT_SHA256");
  const auto other = chosen.unknown_crc32c.view();
  if (other.empty()) return warning;
  if (!warning.empty()) warning.append("; ");
  return warning.append(digest::warning_of(chosen.crc32c, other, "MCKPT_CRC32C"));
}

}  // namespace mckpt
