#include "verifier.hpp"

#include <array>

#include "mckpt/chunk_table.hpp"
#include "mckpt/error.hpp"
#include "mckpt/fault_guard.hpp"

namespace mckpt {

Verifier::Verifier(std::span<const FileSpan> spans, const ReadOptions& options, const std::string& path)
    : spans_(spans), options_(options), path_(path) {
  if (options.check == Check::kNone) return;
  const std::uint64_t chunks = options.table.size() / kChunkEntryBytes;
  for (const FileSpan& span : spans)
    if (chunk_count(span.length) > chunks || span.first_chunk > chunks - chunk_count(span.length))
      throw Error(ErrorCode::kArgument, "the chunk table lacks chunks of a tensor",
                  {.path = path, .tensor = std::string(span.tensor)});
}

void Verifier::check(std::span<const SpanPart> parts, const std::byte* source) const {
  if (options_.check == Check::kNone) return;
  const std::uint64_t begin = offset_of(spans_, parts.front());
  std::array<bytes_view, kBatchParts> bytes;
  for (std::size_t i = 0; i < parts.size(); ++i)
    bytes[i] = {source + (offset_of(spans_, parts[i]) - begin), parts[i].length};
  if (options_.check == Check::kSha256) check_digests(parts, std::span(bytes).first(parts.size()));
  if (options_.check == Check::kCrc32c) check_checksums(parts, std::span(bytes).first(parts.size()));
}

std::uint64_t Verifier::chunk_index(const SpanPart& part) const {
  return spans_[part.span].first_chunk + part.begin / kChunkBytes;
}

void Verifier::check_digests(std::span<const SpanPart> parts, std::span<const bytes_view> bytes) const {
  std::array<digest256, kBatchParts> digests;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled here
  const std::span<digest256> out = std::span(digests).first(bytes.size());
  check_not_lost(parts, bytes, lost_address([&] { chunk_digests(bytes, out); }));
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (load_entry(options_.table, chunk_index(parts[i])).sha256 != digests[i]) throw_corrupt(parts[i]);
}

void Verifier::check_checksums(std::span<const SpanPart> parts, std::span<const bytes_view> bytes) const {
  std::array<std::uint32_t, kBatchParts> checksums;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled here
  check_not_lost(parts, bytes, lost_address([&] {
                   for (std::size_t i = 0; i < bytes.size(); ++i) checksums[i] = crc32c(bytes[i]);
                 }));
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (load_entry(options_.table, chunk_index(parts[i])).crc32c != checksums[i]) throw_corrupt(parts[i]);
}

// `bytes` are those of the parts.
void Verifier::check_not_lost(std::span<const SpanPart> parts, std::span<const bytes_view> bytes,
                              const std::byte* lost) const {
  if (lost == nullptr) return;
  std::size_t i = 0;
  while (i + 1 < bytes.size() && (lost < bytes[i].data() || lost >= bytes[i].data() + bytes[i].size())) ++i;
  throw Error(ErrorCode::kTruncated, "the file shrank while it was read",
              {.path = path_,
               .tensor = std::string(spans_[parts[i].span].tensor),
               .offset = static_cast<std::int64_t>(offset_of(spans_, parts[i]))});
}

void Verifier::throw_corrupt(const SpanPart& part) const {
  const FileSpan& span = spans_[part.span];
  throw Error(ErrorCode::kCorrupt, "a chunk differs from its digest",
              {.path = path_,
               .tensor = std::string(span.tensor),
               .offset = static_cast<std::int64_t>(span.offset + part.begin)});
}

}  // namespace mckpt
