// MappedFile and verify_mapping: any length, any spans, any table, and a file that was cut off after it was mapped.
#include <memory>

#include "sample_file.hpp"

namespace mckpt::fuzz {
namespace {

void try_input(Choices& choices) {
  static const SampleFile sample;
  const std::size_t size = sample.content().size();
  const std::uint64_t length = choices.coin() ? size : choices.hostile(size);
  std::unique_ptr<MappedFile> mapping;
  if (!succeeds([&] { mapping = std::make_unique<MappedFile>(sample.file().ref(), length); })) {
    demand(length > size, "a part of a file can be mapped");
    return;
  }
  const Bytes table = sample.choose_table(choices);
  std::vector<FileSpan> spans(choices.below(9));
  std::ranges::generate(spans, [&] { return sample.choose_span(choices); });
  const Check check = choices.one_of({Check::kSha256, Check::kCrc32c, Check::kNone});
  const bool is_cut = choices.rarely();
  if (is_cut) sample.file().resize(choices.word() % size);
  const ReadOptions options{table, check, IoMode::kAuto, choices.work()};
  const bool is_verified = succeeds([&] { verify_mapping(*mapping, sample.file().ref().path, spans, options); });
  sample.restore();
  const auto genuine = [&](const FileSpan& span) { return sample.is_genuine(span); };
  const auto inside = [&](const FileSpan& span) {
    return span.length == 0 || (span.offset <= length && span.length <= length - span.offset);
  };
  if (is_verified) demand(std::ranges::all_of(spans, inside), "nothing is verified outside of the mapping");
  if (!is_cut && sample.is_right(table) && std::ranges::all_of(spans, genuine) && std::ranges::all_of(spans, inside))
    demand(is_verified, "what is right is verified");
}

}  // namespace
}  // namespace mckpt::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mckpt::fuzz::Choices choices(data, size);
  mckpt::fuzz::try_input(choices);
  return 0;
}
