// SPDX-License-Identifier: GPL-3.0-or-later
/// Runs a fuzz target over files and directories of files: how a build without libFuzzer replays a corpus.
///
/// Beside each input as it is, it tries every truncation of it and, seeded by its position, changed bytes: cheap, and
/// the same in each run.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

// Truncations and changes of long inputs would take minutes under a sanitizer.
constexpr std::size_t kMaxVariedBytes = 4096;
constexpr int kChangesPerInput = 2000;

/// Exactly as large as the input, so that a sanitizer sees each read beyond its end.
void run(const Input& input) {
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void vary(const Input& input) {
  if (input.empty() || input.size() > kMaxVariedBytes) return;
  for (std::size_t n = 0; n < input.size(); ++n)
    run(Input(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(n)));
  std::mt19937 random(static_cast<std::uint32_t>(input.size()));
  for (int i = 0; i < kChangesPerInput; ++i) {
    Input changed = input;
    for (unsigned n = random() % 4 + 1; n > 0; --n)
      changed[random() % changed.size()] = static_cast<std::uint8_t>(random());
    run(changed);
  }
}

Input read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int replay(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    const Input input = read(path);
    run(input);
    vary(input);
    return 1;
  }
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) count += replay(entry.path());
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 0;
  for (int i = 1; i < argc; ++i) count += replay(argv[i]);
  std::printf("%d inputs\n", count);
  // An empty corpus is a mistake in the build, not a success.
  return count > 0 ? 0 : 1;
}
