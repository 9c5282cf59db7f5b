// Runs a fuzz target without libFuzzer, with the few of its options that matter: tries the files that are named, then
// random inputs. `-seed=S -runs=N` tries the same inputs every time; after a failure it says which run it was.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include "support.hpp"

extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Input = std::vector<std::uint8_t>;

struct Options {
  std::uint64_t runs = 10'000;
  std::uint64_t seed = 1;
  std::uint64_t max_len = 256;
  std::uint64_t max_total_time = 0;  // in seconds; 0: without end
  std::vector<std::filesystem::path> files;
};

std::uint64_t current_run = 0;
std::uint64_t current_seed = 0;

void say_where() { std::fprintf(stderr, "with -seed=%lu -runs=%lu\n", current_seed, current_run); }

bool read_number(std::string_view argument, std::string_view name, std::uint64_t& value) {
  if (!argument.starts_with(name)) return false;
  value = std::strtoull(std::string(argument.substr(name.size())).c_str(), nullptr, 10);
  return true;
}

Options parse(std::span<char*> arguments) {
  Options options;
  for (const std::string_view argument : arguments)
    if (!read_number(argument, "-runs=", options.runs) && !read_number(argument, "-seed=", options.seed) &&
        !read_number(argument, "-max_len=", options.max_len) &&
        !read_number(argument, "-max_total_time=", options.max_total_time) && !argument.starts_with('-'))
      options.files.emplace_back(argument);
  return options;
}

void run_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  const Input input(content.begin(), content.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  ++current_run;
}

// Random bytes, or the input before with some of them changed.
void mutate(Input& input, std::mt19937_64& generator, std::uint64_t max_len) {
  if (generator() % 4 == 0 || input.empty()) {
    input.resize(generator() % (max_len + 1));
    for (std::uint8_t& byte : input) byte = static_cast<std::uint8_t>(generator());
  }
  for (std::uint64_t i = generator() % 4; i != 0 && !input.empty(); --i)
    input[generator() % input.size()] = static_cast<std::uint8_t>(generator());
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  current_seed = options.seed;
  std::signal(SIGABRT, [](int) { say_where(); });
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(&say_where);
  for (const std::filesystem::path& path : options.files)
    for (const auto& file : std::filesystem::is_directory(path)
                                ? std::vector<std::filesystem::path>(std::filesystem::directory_iterator(path), {})
                                : std::vector{path})
      run_file(file);
  std::mt19937_64 generator(options.seed);
  const auto start = std::chrono::steady_clock::now();
  Input input;
  for (std::uint64_t i = 0; i < options.runs; ++i, ++current_run) {
    if (options.max_total_time != 0 && i % 64 == 0 &&
        std::chrono::steady_clock::now() - start > std::chrono::seconds(options.max_total_time))
      break;
    mutate(input, generator, options.max_len);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("stat::number_of_executed_units: %lu\nstat::peak_rss_mb: %ld\n", current_run, usage.ru_maxrss / 1024);
}
