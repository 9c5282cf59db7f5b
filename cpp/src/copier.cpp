#include "mckpt/copier.hpp"

#include <algorithm>
#include <cstring>

#include "mckpt/error.hpp"
#include "mckpt/fault_guard.hpp"
#include "segment_index.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace mckpt {
namespace {

constexpr std::size_t kCopyBlockBytes = 2 * 1024 * 1024;
constexpr std::size_t kStreamThreshold = 64 * 1024;

#ifdef __SSE2__
constexpr std::size_t kLineBytes = 64;

// Writes whole cache lines, without reading them first.
void stream_lines(std::byte* dest, const std::byte* source, std::size_t lines) noexcept {
  for (; lines != 0; --lines, dest += kLineBytes, source += kLineBytes) {
    const auto* from = reinterpret_cast<const __m128i*>(source);
    auto* to = reinterpret_cast<__m128i*>(dest);
    const __m128i a = _mm_loadu_si128(from);
    const __m128i b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2);
    const __m128i d = _mm_loadu_si128(from + 3);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
  _mm_sfence();
}
#endif

void check_copy(std::span<std::byte> dest, std::span<const std::uint64_t> offsets,
                std::span<const bytes_view> sources) {
  if (offsets.size() != sources.size()) throw Error(ErrorCode::kArgument, "offsets and sources differ in length");
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (sources[i].size() > dest.size() || offsets[i] > dest.size() - sources[i].size())
      throw Error(ErrorCode::kArgument, "source " + std::to_string(i) + " does not fit the destination");
}

// Copies all sources, in parallel; source i begins at dest_of(i).
template <class DestOf>
void copy_sources(std::span<const bytes_view> sources, const WorkOptions& options, DestOf dest_of) {
  const SegmentIndex index(sources);
  const std::uint64_t blocks = (index.bytes() + kCopyBlockBytes - 1) / kCopyBlockBytes;
  parallel_blocks(blocks, WorkKind::kCompute, options, [&](std::size_t block) {
    const std::uint64_t begin = block * kCopyBlockBytes;
    const Range range{begin, std::min<std::uint64_t>(begin + kCopyBlockBytes, index.bytes())};
    const std::byte* const lost = lost_address([&] {
      index.for_each_piece(range, [&](const Piece& piece) {
        const std::ptrdiff_t at = piece.bytes.data() - sources[piece.segment].data();
        stream_copy(dest_of(piece.segment) + at, piece.bytes);
      });
    });
    if (lost != nullptr) index.throw_lost(lost);
  });
}

}  // namespace

void stream_copy(std::byte* dest, bytes_view source) noexcept {
  if (source.empty()) return;
#ifdef __SSE2__
  if (source.size() >= kStreamThreshold) {
    const std::size_t head = -reinterpret_cast<std::uintptr_t>(dest) % kLineBytes;
    std::memcpy(dest, source.data(), head);
    const std::size_t lines = (source.size() - head) / kLineBytes;
    stream_lines(dest + head, source.data() + head, lines);
    const std::size_t done = head + lines * kLineBytes;
    dest += done;
    source = source.subspan(done);
  }
#endif
  std::memcpy(dest, source.data(), source.size());
}

void copy_buffers(std::span<std::byte> dest, std::span<const std::uint64_t> offsets,
                  std::span<const bytes_view> sources, const WorkOptions& options) {
  check_copy(dest, offsets, sources);
  copy_sources(sources, options, [&](std::size_t i) { return dest.data() + offsets[i]; });
}

void copy_each(std::span<const std::span<std::byte>> dests, std::span<const bytes_view> sources,
               const WorkOptions& options) {
  if (dests.size() != sources.size()) throw Error(ErrorCode::kArgument, "destinations and sources differ in length");
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (dests[i].size() != sources[i].size())
      throw Error(ErrorCode::kArgument, "source " + std::to_string(i) + " has not the size of its destination");
  copy_sources(sources, options, [&](std::size_t i) { return dests[i].data(); });
}

}  // namespace mckpt
