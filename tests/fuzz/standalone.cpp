// Runs a fuzzer's function without libFuzzer, on any compiler and under any sanitizer: every input of the corpus, then
// mutations of them, the same for the same seed.
//   gameforge_fuzz_NAME ROUNDS SEED CORPUS [DICTIONARY]     gameforge_fuzz_NAME FILE (one input, as libFuzzer's)
#include "base/files.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

namespace {

constexpr std::uint64_t limit_bytes = std::uint64_t{1} << 24;
constexpr std::size_t longest = 4096;  // As -max_len of the runs with libFuzzer.

void run(const std::string& input) {
  // Of exactly this size, so that AddressSanitizer sees a byte that is read behind the end.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The words of a dictionary in libFuzzer's form: "..." a line, with \\, \" and \xNN.
std::vector<std::string> words_of(const std::string& dictionary) {
  std::vector<std::string> words;
  std::size_t from = 0;
  while (from < dictionary.size()) {
    auto end = dictionary.find('\n', from);
    if (end == std::string::npos) end = dictionary.size();
    const auto line = dictionary.substr(from, end - from);
    from = end + 1;
    const auto open = line.find('"');
    const auto close = line.rfind('"');
    if (line.starts_with('#') || open == close) continue;
    std::string word;
    for (std::size_t i = open + 1; i < close; ++i) {
      if (line[i] == '\\' && i + 3 < close + 1 && line[i + 1] == 'x' && digit(line[i + 2]) >= 0 &&
          digit(line[i + 3]) >= 0) {
        word += static_cast<char>(digit(line[i + 2]) * 16 + digit(line[i + 3]));
        i += 3;
      } else {
        if (line[i] == '\\') ++i;
        word += line[i];
      }
    }
    words.push_back(std::move(word));
  }
  return words;
}

std::string mutated(std::mt19937& random, const std::vector<std::string>& corpus,
                    const std::vector<std::string>& words) {
  std::string text = corpus[random() % corpus.size()];
  const auto changes = random() % 6;
  for (std::uint32_t i = 0; i < changes; ++i) {
    const std::size_t at = random() % (text.size() + 1);
    switch (random() % 5) {
      case 0:
        if (!words.empty()) text.insert(at, words[random() % words.size()]);
        break;
      case 1:
        text.erase(at, random() % 8);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(random() % 256));
        break;
      case 3:
        text.insert(at, corpus[random() % corpus.size()]);
        break;
      default:
        text.resize(at);
        break;
    }
    if (text.size() > longest) text.resize(longest);
  }
  return text;
}

int complain(const gf::Error& error) {
  (void)std::fprintf(stderr, "%s\n", error.message.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) {
    const auto input = gf::read_text(argv[1], limit_bytes);
    if (!input) return complain(input.error());
    run(input.value());
    return 0;
  }
  if (argc < 4) {
    (void)std::fprintf(stderr, "usage: %s ROUNDS SEED CORPUS [DICTIONARY], or %s FILE\n", argv[0], argv[0]);
    return 2;
  }
  const auto rounds = std::stoul(argv[1]);
  const auto seed = static_cast<std::uint32_t>(std::stoul(argv[2]));
  const auto names = gf::names_in(argv[3]);
  if (!names) return complain(names.error());
  std::vector<std::string> corpus;
  for (const auto& name : names.value()) {
    auto input = gf::read_text(gf::join_path(argv[3], name), limit_bytes);
    if (!input) return complain(input.error());
    corpus.push_back(std::move(input).value());
  }
  if (corpus.empty()) {
    (void)std::fprintf(stderr, "%s: the corpus is empty\n", argv[3]);
    return 2;
  }
  std::vector<std::string> words;
  if (argc > 4) {
    const auto dictionary = gf::read_text(argv[4], limit_bytes);
    if (!dictionary) return complain(dictionary.error());
    words = words_of(dictionary.value());
  }
  std::mt19937 random(seed);
  for (const auto& input : corpus) run(input);
  for (std::size_t round = 0; round < rounds; ++round) run(mutated(random, corpus, words));
  std::printf("%zu inputs kept, %zu made with seed %u: nothing broke\n", corpus.size(),
              static_cast<std::size_t>(rounds), seed);
  return 0;
}
