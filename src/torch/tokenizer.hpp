// CLIP's byte-pair tokenizer: prompts to token ids, as transformers' CLIPTokenizer gives them (version 5).
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gf::torch {

/// Immutable once made. Threads: any.
class Tokenizer {
 public:
  /// Texts of the three files (vocab.json, merges.txt, tokenizer_config.json) with their paths, for messages.
  struct Files {
    std::string vocabulary;
    std::string vocabulary_path;
    std::string merges;
    std::string merges_path;
    std::string config;  ///< Empty: CLIP's defaults.
    std::string config_path;
  };

  /// Errors: corrupt_file names the file and what is wrong (ids that are missing, negative or given twice; a merge
  /// whose parts or result are no tokens; bytes that no token stands for).
  static Result<Tokenizer> make(const Files& files);

  /// All tokens of `text` (valid UTF-8), without begin and end.
  std::vector<std::int32_t> tokens(std::string_view text) const;

  /// Exactly `length` ids: begin, at most length - 2 tokens, end, padding. `cut` receives how many tokens did not fit.
  std::vector<std::int64_t> encode(std::string_view text, std::size_t length, std::size_t* cut = nullptr) const;
  /// Likewise for tokens, of which there are at most length - 2.
  std::vector<std::int64_t> framed(std::span<const std::int32_t> tokens, std::size_t length) const;

  std::int32_t begin() const { return begin_; }
  std::int32_t end() const { return end_; }
  std::size_t vocabulary_size() const { return vocabulary_size_; }

 private:
  Tokenizer() = default;
  void add_word(std::string_view word, std::vector<std::int32_t>& out) const;

  struct Merge {
    std::int32_t rank;
    std::int32_t result;
  };
  std::unordered_map<std::uint64_t, Merge> merges_;  // By the ids of the two parts.
  std::int32_t byte_token_[256] = {};                // Of a byte inside a word,
  std::int32_t last_byte_token_[256] = {};           // and of a word's last byte ("</w>" after it).
  struct Special {
    std::string text;
    std::int32_t id;
  };
  std::vector<Special>
      special_;  // Cut out of the raw text wherever they stand; a later one is not inside an earlier one.
  std::int32_t begin_ = 0;
  std::int32_t end_ = 0;
  std::int32_t pad_ = 0;
  std::size_t vocabulary_size_ = 0;
};

}  // namespace gf::torch
