// write_segments: any segments at any place of the file.
#include "mckpt/chunk_table.hpp"
#include "mckpt/writer.hpp"
#include "support.hpp"

namespace mckpt::fuzz {
namespace {

// Segments of memory of exactly their size, some of them more than once.
struct Content {
  std::vector<Bytes> memory;
  std::vector<Segment> segments;
  std::vector<bytes_view> views;
  std::uint64_t bytes = 0;
};

Content choose_content(Choices& choices) {
  Content content;
  content.memory.resize(1 + choices.below(4));
  for (Bytes& memory : content.memory) {
    const std::size_t small = choices.one_of<std::size_t>({0, 1, 7, 4096, kLeafBytes, kLeafBytes + 1});
    memory = random_bytes(choices.rarely() ? kChunkBytes + small : small + choices.byte(), choices.byte());
  }
  for (std::size_t i = choices.below(12); i != 0; --i) {
    const Bytes& memory = content.memory[choices.below(content.memory.size())];
    const std::size_t begin = memory.empty() || choices.coin() ? 0 : choices.word() % memory.size();
    content.views.push_back(bytes_view(memory).subspan(begin));
    content.segments.push_back({content.views.back(), "tensor"});
    content.bytes += content.views.back().size();
  }
  return content;
}

void check_file(const MemoryFile& file, const Content& content, std::uint64_t offset, const WriteResult& result) {
  demand(result.bytes == content.bytes, "all bytes are counted");
  demand(result.table == digest_chunks(content.views), "the table is that of the segments");
  if (content.bytes != 0 || offset != 0)
    demand(file_size(file.ref()) == offset + content.bytes, "the file ends with the last segment");
  for (const bytes_view view : content.views) {
    Bytes written(view.size());
    read_all(file.ref(), written, offset);
    demand(std::ranges::equal(written, view), "the file has the segments");
    offset += view.size();
  }
}

void try_input(Choices& choices) {
  static const MemoryFile file("written");
  const Content content = choose_content(choices);
  const std::uint64_t offset = choices.coin() ? 4096 : choices.hostile(64 * 1024);
  const WriteOptions options{choices.io(), choices.work()};
  file.resize(choices.coin() ? 0 : choices.word() % 100'000);
  const std::uint64_t size = file_size(file.ref());
  WriteResult result;
  const bool is_written = succeeds([&] { result = write_segments(file.ref(), content.segments, offset, options); });
  if (is_written) {
    check_file(file, content, offset, result);
  } else {
    constexpr std::uint64_t kMost = MemoryFile::kMostBytes;
    const bool is_possible = content.bytes <= kMost && offset <= kMost - content.bytes;
    demand(!is_possible || options.io == IoMode::kDirect, "what fits is written");
    constexpr std::uint64_t kMaxOffset = std::numeric_limits<std::int64_t>::max();
    const bool has_place = offset <= kMaxOffset && content.bytes <= kMaxOffset - offset;
    demand(has_place || file_size(file.ref()) == size, "what no file can hold leaves the file alone");
  }
}

}  // namespace
}  // namespace mckpt::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mckpt::fuzz::Choices choices(data, size);
  mckpt::fuzz::try_input(choices);
  return 0;
}
