// Runs a fuzz target without libFuzzer, with the few of its options that matter: tries the files that are named, then
// random inputs, some of them made of those files. `-seed=S -runs=N` tries the same inputs every time; after a failure
// it says which run it was.
#include <chrono>
#include <ctime>
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

void run(const Input& input) {
  const std::clock_t begin = std::clock();
  LLVMFuzzerTestOneInput(input.data(), input.size());
  mckpt::fuzz::demand(std::clock() - begin < CLOCKS_PER_SEC, "an input takes less than a second of CPU time");
  ++current_run;
}

// Sorted: directories list their files in any order.
std::vector<Input> read_inputs(std::span<const std::filesystem::path> named) {
  std::vector<std::filesystem::path> paths;
  for (const std::filesystem::path& path : named)
    if (std::filesystem::is_directory(path))
      std::ranges::copy(std::filesystem::directory_iterator(path), std::back_inserter(paths));
    else
      paths.push_back(path);
  std::ranges::sort(paths);
  std::vector<Input> inputs;
  for (const std::filesystem::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// Random bytes, or one of the files, or the input before; some bytes of it are changed.
void mutate(Input& input, std::span<const Input> files, std::mt19937_64& generator, std::uint64_t max_len) {
  if (!files.empty() && generator() % 4 == 0) {
    input = files[generator() % files.size()];
  } else if (generator() % 4 == 0 || input.empty()) {
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
  const std::vector<Input> files = read_inputs(options.files);
  std::ranges::for_each(files, run);
  std::mt19937_64 generator(options.seed);
  const auto start = std::chrono::steady_clock::now();
  Input input;
  for (std::uint64_t i = 0; i < options.runs; ++i) {
    if (options.max_total_time != 0 && i % 64 == 0 &&
        std::chrono::steady_clock::now() - start > std::chrono::seconds(options.max_total_time))
      break;
    mutate(input, files, generator, options.max_len);
    run(input);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("stat::number_of_executed_units: %lu\nstat::peak_rss_mb: %ld\n", current_run, usage.ru_maxrss / 1024);
}
