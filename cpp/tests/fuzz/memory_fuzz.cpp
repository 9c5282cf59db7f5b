// Copies and digests of memory: any sizes, any offsets.
#include "mckpt/chunk_table.hpp"
#include "mckpt/copier.hpp"
#include "support.hpp"

namespace mckpt::fuzz {
namespace {

struct Copies {
  std::vector<Bytes> memory;
  std::vector<bytes_view> sources;
  std::vector<std::uint64_t> offsets;
  std::size_t end = 0;
};

// Sources side by side, here and there with a gap, and now and then with an offset that is anything.
Copies choose_copies(Choices& choices) {
  Copies copies;
  copies.memory.resize(choices.below(7));
  for (Bytes& memory : copies.memory) {
    memory = random_bytes(choices.rarely() ? kLeafBytes + choices.byte() : choices.byte(), choices.byte());
    copies.sources.emplace_back(memory);
    copies.end += choices.rarely() ? choices.byte() : 0;
    copies.offsets.push_back(copies.end);
    copies.end += memory.size();
  }
  return copies;
}

void try_copies(Choices& choices) {
  Copies copies = choose_copies(choices);
  Bytes dest(choices.rarely() ? copies.end - std::min<std::size_t>(copies.end, 1) : copies.end);
  if (choices.rarely() && !copies.offsets.empty())
    copies.offsets[choices.below(copies.offsets.size())] = choices.hostile(dest.size());
  if (choices.rarely()) copies.offsets.push_back(0);
  const bool is_copied = succeeds([&] { copy_buffers(dest, copies.offsets, copies.sources, choices.work()); });
  if (!is_copied) return;
  demand(copies.offsets.size() == copies.sources.size(), "each source has an offset");
  for (std::size_t i = 0; i < copies.sources.size(); ++i)
    demand(copies.offsets[i] + copies.sources[i].size() <= dest.size(), "nothing is copied beyond the end");
}

// The table of all is that of each, one after the other, and entries survive being stored.
void try_digests(Choices& choices) {
  const Copies copies = choose_copies(choices);
  const Bytes table = digest_chunks(copies.sources, choices.work());
  Bytes parts;
  for (const bytes_view source : copies.sources) {
    const Bytes part = digest_chunks(std::span(&source, 1));
    parts.insert(parts.end(), part.begin(), part.end());
  }
  demand(table == parts, "a tensor's table does not depend on its neighbours");
  for (std::uint64_t i = 0; i < table.size() / kChunkEntryBytes; ++i) {
    Bytes copy(kChunkEntryBytes);
    store_entry(copy, 0, load_entry(table, i));
    demand(std::ranges::equal(copy, bytes_view(table).subspan(i * kChunkEntryBytes, kChunkEntryBytes)), "entries");
  }
  for (const bytes_view source : copies.sources) {
    const std::size_t cut = source.empty() ? 0 : choices.word() % source.size();
    demand(crc32c(source) == crc32c(source.subspan(cut), crc32c(source.first(cut))), "checksums continue");
  }
}

}  // namespace
}  // namespace mckpt::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mckpt::fuzz::Choices choices(data, size);
  if (choices.coin())
    mckpt::fuzz::try_copies(choices);
  else
    mckpt::fuzz::try_digests(choices);
  return 0;
}
