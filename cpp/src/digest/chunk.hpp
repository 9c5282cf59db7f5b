// Chunk digests with a given implementation. The public function is chunk_digests() of mckpt/digest.hpp.
#pragma once

#include <span>

#include "kernels.hpp"
#include "mckpt/digest.hpp"

namespace mckpt::digest {

void chunk_digests_with(const Sha256Implementation& implementation, std::span<const bytes_view> chunks,
                        std::span<digest256> out) noexcept;

}  // namespace mckpt::digest
