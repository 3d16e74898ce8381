#include "error/fingerprint.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace gf::error {
namespace {

__extension__ using Wide = unsigned __int128;

/// A hash for telling apart, not for security: multiply and fold to 64 bits as in wyhash (Wang Yi, 2019).
class Hash {
 public:
  void add(std::uint64_t value) noexcept {
    const auto product = static_cast<Wide>(state_ ^ value) * 0x9E3779B97F4A7C15u;
    state_ = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    state_ += 0xA0761D6478BD642Fu;
  }

  void add(std::string_view text) noexcept {
    const auto* at = text.data();
    auto left = text.size();
    for (; left > 8; left -= 8, at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, 8);
      add(word);
    }
    std::uint64_t word = 0;
    if (left != 0) std::memcpy(&word, at, left);  // An empty view may point nowhere.
    // The length tells "a" from "a\0".
    add(word ^ std::uint64_t{text.size()} << 56);
  }

  std::uint64_t value() const noexcept { return state_ != 0 ? state_ : 1; }

 private:
  std::uint64_t state_ = 0xE7037ED1A0B428DBu;
};

enum Class : unsigned char { other, letter, digit, space, quote, slash, joiner };

constexpr auto classes = [] {
  std::array<Class, 256> table{};
  for (int c = 0; c < 256; ++c) {
    auto& entry = table[static_cast<std::size_t>(c)];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 128) entry = letter;
    if (c >= '0' && c <= '9') entry = digit;
    if (c <= ' ' || c == 127) entry = space;
  }
  table['"'] = table['\''] = table['`'] = quote;
  table['/'] = table['\\'] = slash;
  for (const char c : {'.', '-', ':', '@', '+', '%', '~'}) table[static_cast<unsigned char>(c)] = joiner;
  return table;
}();

constexpr Class class_of(char c) { return classes[static_cast<unsigned char>(c)]; }
constexpr bool is_word(char c) { return class_of(c) == letter || class_of(c) == digit; }
constexpr bool is_hex(char c) { return class_of(c) == digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// What stands for a part that was masked.
constexpr std::string_view number_mask = "#";
constexpr std::string_view quoted_mask = "\"*\"";
constexpr std::string_view path_mask = "<path>";

/// A run of letters and digits: kept, or masked in part.
template <class Emit>
void part(std::string_view text, Emit& emit) {
  const auto first = std::find_if(text.begin(), text.end(), [](char c) { return class_of(c) == digit; });
  if (first == text.end()) {
    emit(text);
    return;
  }
  const auto letters = static_cast<std::size_t>(first - text.begin());
  const bool ends_in_number = std::all_of(first, text.end(), [](char c) { return class_of(c) == digit; });
  if (letters > 0 && ends_in_number) emit(text.substr(0, letters));  // "layer12", "sda1".
  emit(number_mask);
}

/// Words with what joins them: a number, an id, a path, or plain words.
template <class Emit>
void token(std::string_view text, bool has_digit, bool has_slash, Emit& emit) {
  if (has_slash) {
    emit(path_mask);
    return;
  }
  if (!has_digit) {
    emit(text);
    return;
  }
  const bool is_id =
      text.size() >= 8 && std::all_of(text.begin(), text.end(), [](char c) { return is_hex(c) || c == '-'; });
  if (is_id || class_of(text.front()) == digit) {
    emit(number_mask);
    return;
  }
  for (std::size_t at = 0; at < text.size();) {
    auto end = at;
    while (end < text.size() && is_word(text[end])) ++end;
    if (end > at) part(text.substr(at, end - at), emit);
    at = end;
    while (end < text.size() && !is_word(text[end])) ++end;
    if (end > at) emit(text.substr(at, end - at));
    at = end;
  }
}

/// Hands the template of `text` to `emit`, piece by piece.
template <class Emit>
void scan(std::string_view text, Emit emit) {
  text = text.substr(0, 4096);
  const auto size = text.size();
  std::size_t at = 0;
  while (at < size && class_of(text[at]) == space) ++at;
  while (at < size) {
    const char c = text[at];
    switch (class_of(c)) {
      case space: {
        while (at < size && class_of(text[at]) == space) ++at;
        if (at < size) emit(" ");
        break;
      }
      case quote: {
        // An apostrophe within a word opens nothing.
        const bool opens = at == 0 || !is_word(text[at - 1]);
        auto end = opens ? text.find(c, at + 1) : std::string_view::npos;
        if (opens && c == '`' && end == std::string_view::npos) end = text.find('\'', at + 1);
        if (end != std::string_view::npos && end - at <= 1024) {
          emit(quoted_mask);
          at = end + 1;
        } else {
          emit(text.substr(at, 1));
          ++at;
        }
        break;
      }
      case letter:
      case digit:
      case slash:
      case joiner: {
        bool has_digit = false;
        bool has_slash = false;
        auto end = at;
        for (; end < size; ++end) {
          const auto kind = class_of(text[end]);
          if (kind == letter) continue;
          if (kind == digit) {
            has_digit = true;
          } else if (kind == slash) {
            // A slash makes a path where a name follows or goes before; alone it is a sign.
            const bool named = (end + 1 < size && (is_word(text[end + 1]) || class_of(text[end + 1]) == slash ||
                                                   class_of(text[end + 1]) == joiner)) ||
                               (end > at && is_word(text[end - 1]));
            if (!named) break;
            has_slash = true;
          } else if (kind == joiner) {
            // Joins what goes on behind it: "1.5", "a-b", "C:\x"; a full stop does not.
            const bool goes_on = end + 1 < size && (is_word(text[end + 1]) || class_of(text[end + 1]) == slash ||
                                                    (has_slash && text[end + 1] == '.'));
            if (!goes_on) break;
          } else if (has_slash && end + 1 < size && is_word(text[end + 1]) &&
                     std::string_view("?=&#").find(text[end]) != std::string_view::npos) {
            continue;  // A URL's query.
          } else {
            break;
          }
        }
        if (end == at) {
          emit(text.substr(at, 1));
          ++at;
          break;
        }
        auto begin = at;
        // A sign before a number belongs to it.
        if (!has_slash && has_digit && class_of(text[begin]) == joiner && class_of(text[begin + 1]) == digit) ++begin;
        token(text.substr(begin, end - begin), has_digit, has_slash, emit);
        at = end;
        break;
      }
      case other:
        emit(text.substr(at, 1));
        ++at;
        break;
    }
  }
}

}  // namespace

namespace {

void add_chain(Hash& hash, const Error& error) noexcept {
  const auto link = [&](Status status, const ForeignCode& foreign) {
    hash.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(status)) << 32 |
             static_cast<std::uint64_t>(foreign.domain));
    if (foreign.domain != ForeignCode::Domain::none) hash.add(static_cast<std::uint64_t>(foreign.number));
  };
  for (auto cause = error.causes.rbegin(); cause != error.causes.rend(); ++cause) link(cause->status, cause->foreign);
  link(error.status, error.foreign);
}

}  // namespace

std::uint64_t fingerprint_of(const Error& error) noexcept {
  Hash hash;
  add_chain(hash, error);
  if (!error.causes.empty()) hash.add(error.causes.back().where.function_name());
  hash.add(error.where.function_name());
  return hash.value();
}

std::uint64_t fingerprint_of(const CodedError& error) noexcept {
  Hash hash;
  // As add_chain of the same error, so that one told both ways is one.
  for (auto cause = error.causes.rbegin(); cause != error.causes.rend(); ++cause) {
    hash.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(*cause)) << 32);
  }
  hash.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(error.status)) << 32 |
           static_cast<std::uint64_t>(error.foreign.domain));
  if (error.foreign.domain != ForeignCode::Domain::none) hash.add(static_cast<std::uint64_t>(error.foreign.number));
  hash.add(error.place);
  return hash.value();
}

std::uint64_t fingerprint_of(const Error& error, std::string_view place) noexcept {
  Hash hash;
  add_chain(hash, error);
  hash.add(place);
  return hash.value();
}

std::uint64_t fingerprint_of_text(std::string_view text) noexcept {
  Hash hash;
  hash.add(std::string_view("text"));  // Apart from our own errors'.
  scan(text, [&](std::string_view piece) { hash.add(piece); });
  return hash.value();
}

std::uint64_t fingerprint_of_foreign(std::string_view module, std::string_view text) noexcept {
  return fingerprint_of_text(text) ^ fingerprint_of_text(module) * 0x9E3779B97F4A7C15u;
}

std::string template_of(std::string_view text) {
  std::string out;
  scan(text, [&](std::string_view piece) { out += piece; });
  return out;
}

std::string_view short_place(std::string_view function) {
  auto name = function;
  // The argument list is the last bracket that is not a lambda's.
  auto end = name.find('(');
  if (end == 0 || end == std::string_view::npos) return name;
  while (end != std::string_view::npos && name.substr(0, end).ends_with("operator")) end = name.find('(', end + 2);
  if (end == std::string_view::npos) return name;
  name = name.substr(0, end);
  int depth = 0;
  for (auto at = name.size(); at > 0; --at) {
    const char c = name[at - 1];
    if (c == '>') ++depth;
    if (c == '<') --depth;
    if (c == ' ' && depth == 0) return name.substr(at);
  }
  return name;
}

}  // namespace gf::error
