#include "torch/tokenizer.hpp"
#include "fixtures.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace {

using fixtures::files_of;
using gf::torch::Tokenizer;

void refused(const Tokenizer::Files& files, const std::string& named) {
  const auto made = Tokenizer::make(files);
  DOCTEST_REQUIRE(made.has_error());
  DOCTEST_CHECK(made.error().status == gf::Status::corrupt_file);
  DOCTEST_CHECK_MESSAGE(made.error().message.find(named) != std::string::npos, made.error().message);
}

}  // namespace

DOCTEST_TEST_CASE("a prompt is cut to what fits, and told how much did not") {
  const auto tokenizer = Tokenizer::make(files_of("tokenizer")).value();
  std::string prompt;
  for (int i = 0; i < 80; ++i) prompt += "cat ";
  std::size_t cut = 0;
  const auto ids = tokenizer.encode(prompt, 77, &cut);
  DOCTEST_CHECK(ids.size() == 77);
  DOCTEST_CHECK(cut == 5);
  DOCTEST_CHECK(ids.front() == tokenizer.begin());
  DOCTEST_CHECK(ids.back() == tokenizer.end());
}

DOCTEST_TEST_CASE("one word of 64 KiB costs no more than its length asks for") {
  const auto tokenizer = Tokenizer::make(files_of("tokenizer")).value();
  const auto begin = std::chrono::steady_clock::now();
  for (const char* unit : {"a", "ab", "\xF0\x9F\x98\x80", "9", "!"}) {
    std::string word;
    while (word.size() < 65536) word += unit;
    DOCTEST_CHECK(tokenizer.tokens(word).size() > 100);
  }
  // Quadratic merging would take minutes.
  DOCTEST_CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

DOCTEST_TEST_CASE("files that are no vocabulary or no merges are refused with what is wrong") {
  auto files = files_of("tokenizer");
  const auto whole = files;
  files.vocabulary = "[]";
  refused(files, files.vocabulary_path);
  files = whole;
  files.vocabulary.replace(files.vocabulary.find("49407"), 5, "49406");
  refused(files, "49406 is given twice");
  files = whole;
  files.merges += "nonsense zzzzqqqq\n";
  refused(files, files.merges_path);
  files = whole;
  files.merges += "three parts here\n";
  refused(files, "is not two tokens");
  files = whole;
  files.config = R"({"bos_token": 5})";
  refused(files, "bos_token");
  files = whole;
  files.config = R"({"bos_token": "<|nowhere|>"})";
  refused(files, "<|nowhere|>");
}
