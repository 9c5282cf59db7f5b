// A file of a few tensors with a table, and spans of it as somebody hostile would ask for them.
#pragma once

#include <vector>

#include "mckpt/chunk_table.hpp"
#include "mckpt/reader.hpp"
#include "support.hpp"

namespace mckpt::fuzz {

class SampleFile {
 public:
  SampleFile() { restore(); }

  // Makes the file whole again.
  void restore() const {
    if (file_size(file_.ref()) == content_.size()) return;
    file_.resize(content_.size());
    write_all(file_.ref(), content_, 0);
  }

  [[nodiscard]] const MemoryFile& file() const { return file_; }
  [[nodiscard]] bytes_view content() const { return content_; }

  // The span of one tensor, or any other.
  [[nodiscard]] FileSpan choose_span(Choices& choices) const {
    const std::size_t i = choices.rarely() ? 0 : 1 + choices.below(kSizes.size() - 1);  // the large one takes long
    FileSpan span = tensor_span(i);
    if (choices.coin()) return span;
    if (choices.coin()) span.offset = choices.hostile(content_.size());
    if (choices.coin()) span.length = choices.hostile(content_.size() - std::min(span.offset, content_.size()));
    if (choices.coin()) span.first_chunk = choices.hostile(table_.size() / kChunkEntryBytes);
    return span;
  }

  // The right table, or another.
  [[nodiscard]] Bytes choose_table(Choices& choices) const {
    Bytes table = table_;
    if (choices.rarely()) table.resize(std::min<std::uint64_t>(choices.hostile(table.size()), 4 * table.size()));
    if (choices.rarely() && !table.empty()) table[choices.word() % table.size()] ^= std::byte{1};
    return table;
  }

  // Whether the span is a tensor's own.
  [[nodiscard]] bool is_genuine(const FileSpan& span) const {
    for (std::size_t i = 0; i < kSizes.size(); ++i) {
      const FileSpan own = tensor_span(i);
      if (own.offset == span.offset && own.length == span.length && own.first_chunk == span.first_chunk) return true;
    }
    return false;
  }

  [[nodiscard]] bool is_right(bytes_view table) const { return std::ranges::equal(table, table_); }

 private:
  static constexpr std::size_t kDataOffset = 4096;
  static constexpr auto kSizes = std::to_array<std::size_t>({kChunkBytes + 100, 0, 7, kLeafBytes + 1, 4096, 300, 1});

  [[nodiscard]] static FileSpan tensor_span(std::size_t index) {
    FileSpan span{kDataOffset, kSizes[index], nullptr, 0, "tensor"};
    for (std::size_t i = 0; i < index; ++i) {
      span.offset += kSizes[i];
      span.first_chunk += chunk_count(kSizes[i]);
    }
    return span;
  }

  [[nodiscard]] static Bytes make_content() {
    const FileSpan last = tensor_span(kSizes.size() - 1);
    return random_bytes(last.offset + last.length, 1);
  }

  [[nodiscard]] Bytes make_table() const {
    std::vector<bytes_view> tensors;
    for (std::size_t i = 0; i < kSizes.size(); ++i)
      tensors.push_back(content().subspan(tensor_span(i).offset, kSizes[i]));
    return digest_chunks(tensors);
  }

  MemoryFile file_{"sample"};
  Bytes content_ = make_content();
  Bytes table_ = make_table();
};

}  // namespace mckpt::fuzz
