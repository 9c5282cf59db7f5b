// read_spans: any spans, any table, and a file that may be cut off meanwhile.
#include <thread>

#include "sample_file.hpp"

namespace mckpt::fuzz {
namespace {

constexpr std::uint64_t kMostInMemory = 8 * kChunkBytes;

// Spans with memory of exactly their length, in which a sanitizer sees each byte too many.
struct Request {
  std::vector<FileSpan> spans;
  std::vector<Bytes> memory;
};

Request choose_request(const SampleFile& sample, Choices& choices) {
  Request request;
  request.memory.resize(choices.below(9));
  for (Bytes& memory : request.memory) {
    FileSpan span = sample.choose_span(choices);
    if (span.length <= kMostInMemory && !choices.rarely()) {
      memory.resize(span.length);
      span.dest = memory.data();
    }
    request.spans.push_back(span);
  }
  return request;
}

void check_memory(const SampleFile& sample, const Request& request) {
  for (std::size_t i = 0; i < request.spans.size(); ++i) {
    const FileSpan& span = request.spans[i];
    demand(span.length == 0 || span.length <= sample.content().size(), "nothing is read beyond the end");
    if (span.dest != nullptr && span.length != 0)
      demand(std::ranges::equal(request.memory[i], sample.content().subspan(span.offset, span.length)),
             "what was read is what the file has");
  }
}

void try_input(Choices& choices) {
  static const SampleFile sample;
  const Bytes table = sample.choose_table(choices);
  const Request request = choose_request(sample, choices);
  const Check check = choices.one_of({Check::kSha256, Check::kCrc32c, Check::kNone});
  const ReadOptions options{table, check, choices.io(), choices.work()};
  const std::size_t cut = choices.rarely() ? choices.word() % sample.content().size() : sample.content().size();
  const bool is_cut = cut < sample.content().size();
  std::jthread cutter;
  if (is_cut && choices.coin())
    cutter = std::jthread([&] { sample.file().resize(cut); });
  else if (is_cut)
    sample.file().resize(cut);
  const bool is_read = succeeds([&] { read_spans(sample.file().ref(), request.spans, options); });
  if (cutter.joinable()) cutter.join();
  sample.restore();
  if (is_read) check_memory(sample, request);
  const auto genuine = [&](const FileSpan& span) { return sample.is_genuine(span); };
  if (!is_cut && options.io != IoMode::kDirect && sample.is_right(table) && std::ranges::all_of(request.spans, genuine))
    demand(is_read, "what is right is read");
}

}  // namespace
}  // namespace mckpt::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mckpt::fuzz::Choices choices(data, size);
  mckpt::fuzz::try_input(choices);
  return 0;
}
