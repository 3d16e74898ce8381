#include "torch/tokenizer.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

namespace gf::torch {
namespace {

constexpr std::string_view word_end = "</w>";
constexpr std::string_view begin_text = "<|startoftext|>";
constexpr std::string_view end_text = "<|endoftext|>";

/// GPT-2's reversible map from bytes to printable characters (openai/gpt-2 encoder.py, bytes_to_unicode).
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}

bool is_letter(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

/// White space as regular expressions with Unicode have it: the property White_Space.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Canonical composition (NFC), one blank for each run of white space, lower case.
std::u32string normalise(std::string_view text) {
  std::u32string points;
  utf8proc_uint8_t* composed = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  const std::string_view nfc =
      length >= 0 ? std::string_view(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(length)) : text;
  std::size_t position = 0;
  bool in_space = false;
  while (position < nfc.size()) {
    const auto c = next_code_point(nfc, position);
    if (!c) {
      ++position;  // The caller has checked the text; nothing is lost but a stray byte.
      continue;
    }
    if (is_space(*c)) {
      if (!in_space) points.push_back(U' ');
      in_space = true;
      continue;
    }
    in_space = false;
    // Full lower-casing differs from the simple one in a single character (Unicode SpecialCasing, unconditional rows).
    if (*c == 0x130) {
      points.append(U"i\u0307");
    } else {
      points.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(*c))));
    }
  }
  return points;
}

}  // namespace

Result<Tokenizer> Tokenizer::make(const Files& files) {
  Tokenizer tokenizer;
  const auto vocabulary_error = [&](std::string what) {
    return Error{Status::corrupt_file, fmt::format("{}: {}", files.vocabulary_path, what), {}};
  };
  GF_TRY(const auto vocabulary_document, parse_json(files.vocabulary, files.vocabulary_path));
  const auto& vocabulary = *vocabulary_document;
  if (!vocabulary.is_object() || vocabulary.empty())
    return vocabulary_error("it is not a JSON object of tokens and ids");
  std::unordered_map<std::string_view, std::int32_t> ids;
  std::vector<bool> taken;
  ids.reserve(vocabulary.size());
  for (auto item = vocabulary.begin(); item != vocabulary.end(); ++item) {
    const auto& value = item.value();
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 10'000'000) {
      return vocabulary_error(
          fmt::format("token {} has the id {}; ids are 0 to 10000000", shown(item.key()), to_text(value)));
    }
    const auto id = value.get<std::int32_t>();
    if (taken.size() <= static_cast<std::size_t>(id)) taken.resize(static_cast<std::size_t>(id) + 1);
    if (taken[static_cast<std::size_t>(id)]) {
      return vocabulary_error(fmt::format("the id {} is given twice, the second time to {}", id, shown(item.key())));
    }
    taken[static_cast<std::size_t>(id)] = true;
    ids.emplace(item.key(), id);
  }
  tokenizer.vocabulary_size_ = taken.size();

  const auto id_of = [&](const std::string& token) -> Result<std::int32_t> {
    const auto found = ids.find(token);
    if (found == ids.end()) return vocabulary_error(fmt::format("token {} is missing", shown(token)));
    return found->second;
  };
  const auto characters = byte_characters();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::string text;
    append_utf8(text, characters[byte]);
    GF_TRY(tokenizer.byte_token_[byte], id_of(text));
    GF_TRY(tokenizer.last_byte_token_[byte], id_of(text.append(word_end)));
  }

  // Special tokens; each may be text or an object with the text under "content".
  std::array<std::string, 4> special = {std::string(begin_text), std::string(end_text), std::string(end_text),
                                        std::string(end_text)};
  if (!files.config.empty()) {
    GF_TRY(const auto document, parse_json(files.config, files.config_path));
    const auto& config = *document;
    if (!config.is_object())
      return Error{Status::corrupt_file, fmt::format("{}: it is not a JSON object", files.config_path), {}};
    const std::array keys = {"bos_token", "eos_token", "pad_token", "unk_token"};
    for (std::size_t i = 0; i < keys.size(); ++i) {
      auto value = config.find(keys[i]);
      if (value == config.end() || value->is_null()) continue;
      const auto* text = &*value;
      if (value->is_object() && value->contains("content")) text = &(*value)["content"];
      if (!text->is_string()) {
        return Error{Status::corrupt_file, fmt::format("{}: {} is not text", files.config_path, keys[i]), {}};
      }
      special[i] = text->get<std::string>();
    }
  }
  for (const auto& text : special) {
    GF_TRY(const auto id, id_of(text));
    // Each of them, padding too: the second tokenizer of SDXL pads with "!", and so a "!" of a prompt is that token.
    if (!text.empty()) tokenizer.special_.push_back({text, id});
  }
  GF_TRY(tokenizer.begin_, id_of(special[0]));
  GF_TRY(tokenizer.end_, id_of(special[1]));
  GF_TRY(tokenizer.pad_, id_of(special[2]));

  // merges.txt: a version line, then one merge a line, the strongest first.
  const auto merges_error = [&](std::size_t line, std::string what) {
    return Error{Status::corrupt_file, fmt::format("{}: line {}: {}", files.merges_path, line, what), {}};
  };
  if (const auto bad = first_invalid_utf8(files.merges)) {
    return Error{Status::corrupt_file, fmt::format("{}: it is not UTF-8 at byte {}", files.merges_path, *bad), {}};
  }
  std::string_view rest = files.merges;
  std::size_t line_number = 0;
  std::int32_t rank = 0;
  while (!rest.empty()) {
    ++line_number;
    const auto end = rest.find('\n');
    auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos || blank == 0 || blank + 1 == line.size() ||
        line.find(' ', blank + 1) != std::string_view::npos) {
      return merges_error(line_number, fmt::format("{} is not two tokens with a blank between", shown(line)));
    }
    const auto left = ids.find(line.substr(0, blank));
    const auto right = ids.find(line.substr(blank + 1));
    const auto joined = fmt::format("{}{}", line.substr(0, blank), line.substr(blank + 1));
    const auto result = ids.find(joined);
    if (left == ids.end() || right == ids.end() || result == ids.end()) {
      return merges_error(line_number, fmt::format("{} joins tokens that the vocabulary does not have", shown(line)));
    }
    const auto key = static_cast<std::uint64_t>(left->second) << 32 | static_cast<std::uint32_t>(right->second);
    tokenizer.merges_.try_emplace(key, Merge{rank++, result->second});
  }
  if (tokenizer.merges_.empty())
    return Error{Status::corrupt_file, fmt::format("{}: it has no merges", files.merges_path), {}};
  return tokenizer;
}

void Tokenizer::add_word(std::string_view word, std::vector<std::int32_t>& out) const {
  if (word == begin_text) return out.push_back(begin_);
  if (word == end_text) return out.push_back(end_);
  // Byte-pair encoding, Sennrich et al. 2016: join the strongest pair until no pair is left to join. Pairs wait in a
  // heap by rank and place, so that a word of n bytes costs n log n: prompts come from outside.
  struct Part {
    std::int32_t id;
    std::int32_t previous;
    std::int32_t next;
  };
  struct Pair {
    std::int32_t rank;
    std::int32_t at;
    std::int32_t left;
    std::int32_t right;
    std::int32_t result;
    bool operator>(const Pair& other) const { return std::pair(rank, at) > std::pair(other.rank, other.at); }
  };
  const auto count = static_cast<std::int32_t>(word.size());
  std::vector<Part> parts(word.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    const bool last = i + 1 == count;
    parts[static_cast<std::size_t>(i)] = {last ? last_byte_token_[byte] : byte_token_[byte], i - 1, last ? -1 : i + 1};
  }
  std::vector<Pair> heap;
  const auto consider = [&](std::int32_t at) {
    const auto& part = parts[static_cast<std::size_t>(at)];
    if (part.next < 0) return;
    const auto right = parts[static_cast<std::size_t>(part.next)].id;
    const auto found = merges_.find(static_cast<std::uint64_t>(part.id) << 32 | static_cast<std::uint32_t>(right));
    if (found == merges_.end()) return;
    heap.push_back({found->second.rank, at, part.id, right, found->second.result});
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (std::int32_t i = 0; i + 1 < count; ++i) consider(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto pair = heap.back();
    heap.pop_back();
    auto& part = parts[static_cast<std::size_t>(pair.at)];
    // What changed since the pair was put in makes it void.
    if (part.id != pair.left || part.next < 0 || parts[static_cast<std::size_t>(part.next)].id != pair.right) continue;
    auto& gone = parts[static_cast<std::size_t>(part.next)];
    part.id = pair.result;
    part.next = gone.next;
    gone.id = -1;
    if (gone.next >= 0) parts[static_cast<std::size_t>(gone.next)].previous = pair.at;
    if (part.previous >= 0) consider(part.previous);
    consider(pair.at);
  }
  for (std::int32_t i = 0; i >= 0 && i < count; i = parts[static_cast<std::size_t>(i)].next) {
    out.push_back(parts[static_cast<std::size_t>(i)].id);
  }
}

std::vector<std::int32_t> Tokenizer::tokens(std::string_view text) const {
  std::vector<std::int32_t> out;
  // Special tokens are cut out of the raw text before anything else happens to it; of two at one place the longer.
  while (!text.empty()) {
    auto first = std::string_view::npos;
    const Special* special = nullptr;
    for (const auto& candidate : special_) {
      const auto found = text.find(candidate.text);
      const bool longer = found == first && special != nullptr && candidate.text.size() > special->text.size();
      if (found != std::string_view::npos && (found < first || longer)) {
        first = found;
        special = &candidate;
      }
    }
    const auto plain = normalise(text.substr(0, first));
    std::size_t at = 0;
    std::string word;
    const auto take = [&](std::size_t count) {
      word.clear();
      for (std::size_t i = 0; i < count; ++i) append_utf8(word, plain[at + i]);
      add_word(word, out);
      at += count;
    };
    const auto starts_with = [&](std::u32string_view what) {
      return std::u32string_view(plain).substr(at).starts_with(what);
    };
    const auto is_other = [](char32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c); };
    while (at < plain.size()) {
      // The alternatives of the reference's regular expression, in its order.
      if (starts_with(U"<|startoftext|>")) {
        take(begin_text.size());
      } else if (starts_with(U"<|endoftext|>")) {
        take(end_text.size());
      } else if (starts_with(U"'s") || starts_with(U"'t")) {
        take(2);
      } else if (starts_with(U"'re") || starts_with(U"'ve")) {
        take(3);
      } else if (starts_with(U"'m")) {
        take(2);
      } else if (starts_with(U"'ll")) {
        take(3);
      } else if (starts_with(U"'d")) {
        take(2);
      } else if (is_letter(plain[at])) {
        std::size_t count = 1;
        while (at + count < plain.size() && is_letter(plain[at + count])) ++count;
        take(count);
      } else if (is_number(plain[at])) {
        take(1);
      } else if (is_other(plain[at])) {
        std::size_t count = 1;
        while (at + count < plain.size() && is_other(plain[at + count])) ++count;
        take(count);
      } else {
        ++at;
      }
    }
    if (special == nullptr) break;
    out.push_back(special->id);
    text.remove_prefix(first + special->text.size());
  }
  return out;
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, std::size_t length, std::size_t* cut) const {
  const auto all = tokens(text);
  const auto kept = std::min(all.size(), length - 2);
  if (cut != nullptr) *cut = all.size() - kept;
  return framed(std::span(all).first(kept), length);
}

std::vector<std::int64_t> Tokenizer::framed(std::span<const std::int32_t> tokens, std::size_t length) const {
  std::vector<std::int64_t> ids = {begin_};
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  ids.push_back(end_);
  ids.resize(length, pad_);
  return ids;
}

}  // namespace gf::torch
