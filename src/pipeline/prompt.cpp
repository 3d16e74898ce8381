#include "pipeline/prompt.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace gf::pipeline {
namespace {

constexpr double step = 1.1;  // Of one bracket, up or down.
constexpr std::size_t max_depth = 256;
constexpr std::string_view blanks = " \t\n\v\f\r";

/// What a prompt is made of, before it is known what each bracket weighs.
struct Mark {
  enum Kind { text, open, close } kind = text;
  std::string_view words;   // text
  double factor = 1;        // open: of what is inside.
  std::size_t opening = 0;  // close: the place of what it ends, in the marks.
};

bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  // Letters of other scripts are words too: every byte of theirs is above ASCII.
  return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
         byte == '_';
}

/// The number of ":1.3)" at the start of `text`, and how many bytes it takes.
std::optional<std::pair<double, std::size_t>> weight_at(std::string_view text) {
  auto at = text.find_first_not_of(blanks, 1);
  if (at == std::string_view::npos) return std::nullopt;
  const bool negative = text[at] == '-';
  if (text[at] == '+' || negative) ++at;
  const auto end = text.find_first_not_of("0123456789.", at);
  if (end == std::string_view::npos || end == at) return std::nullopt;
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, value, std::chars_format::fixed);
  // Out of range is still a number: nothing, or one of which the caller says that it is too large.
  if (error == std::errc::result_out_of_range) {
    const auto whole = text.substr(at, text.find('.', at) - at);
    value = whole.find_first_not_of('0') == std::string_view::npos ? 0 : HUGE_VAL;
  } else if (error != std::errc() || stop != text.data() + end) {
    return std::nullopt;
  }
  const auto close = text.find_first_not_of(blanks, end);
  if (close == std::string_view::npos || text[close] != ')') return std::nullopt;
  return std::pair(negative ? -value : value, close + 1);
}

std::vector<Mark> marks_of(std::string_view prompt) {
  std::vector<Mark> marks;
  std::vector<std::size_t> round;  // Places in `marks` of what is open.
  std::vector<std::size_t> square;
  std::size_t begin = 0;
  std::size_t at = 0;
  const auto end_text = [&](std::size_t next) {
    if (at > begin) marks.push_back({Mark::text, prompt.substr(begin, at - begin)});
    at = begin = next;
  };
  const auto close = [&](std::vector<std::size_t>& opened, std::size_t next, std::optional<double> factor) {
    end_text(next);
    if (factor) marks[opened.back()].factor = *factor;
    marks.push_back({Mark::close, {}, 1, opened.back()});
    opened.pop_back();
  };
  while (at < prompt.size()) {
    const char c = prompt[at];
    if (c == '\\' && at + 1 < prompt.size() &&
        std::string_view("()[]\\").find(prompt[at + 1]) != std::string_view::npos) {
      end_text(at + 1);
      ++at;  // The escaped one begins the next text.
    } else if (c == '(' || c == '[') {
      end_text(at + 1);
      (c == '(' ? round : square).push_back(marks.size());
      marks.push_back({Mark::open, {}, c == '(' ? step : 1 / step});
    } else if (const auto weight = c == ':' && !round.empty() ? weight_at(prompt.substr(at)) : std::nullopt) {
      close(round, at + weight->second, weight->first);
    } else if ((c == ')' && !round.empty()) || (c == ']' && !square.empty())) {
      close(c == ')' ? round : square, at + 1, std::nullopt);
    } else {
      ++at;
    }
  }
  end_text(at);
  return marks;
}

/// Where the next BREAK stands in `text`, as a word, from `from` on.
std::size_t find_break(std::string_view text, std::size_t from) {
  constexpr std::string_view word = "BREAK";
  for (auto at = text.find(word, from); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const auto after = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (after == text.size() || !is_word(text[after]))) return at;
  }
  return std::string_view::npos;
}

void add_text(std::vector<PromptPiece>& pieces, std::string_view text, double weight, bool starts_chunk) {
  if (!starts_chunk && !pieces.empty() && pieces.back().weight == weight) {
    pieces.back().text += text;
  } else if (starts_chunk || !text.empty()) {
    pieces.push_back({std::string(text), weight, starts_chunk});
  }
}

}  // namespace

Result<std::vector<PromptPiece>> parse_prompt(std::string_view field, std::string_view prompt, PromptSyntax syntax) {
  std::vector<PromptPiece> pieces;
  if (syntax == PromptSyntax::plain) {
    pieces.push_back({std::string(prompt), 1, false});
    return pieces;
  }
  const auto marks = marks_of(prompt);
  struct Open {
    std::size_t opening;
    double before;  // The weight around it.
  };
  std::vector<Open> open;
  double weight = 1;
  for (std::size_t place = 0; place < marks.size(); ++place) {
    const auto& mark = marks[place];
    if (mark.kind == Mark::open) {
      if (open.size() == max_depth) {
        return Error{Status::invalid_argument,
                     fmt::format("{} has brackets inside of more than {} others", field, max_depth),
                     {}};
      }
      open.push_back({place, weight});
      weight *= mark.factor;
      continue;
    }
    if (mark.kind == Mark::close) {
      // Round and square ones may cross: what was opened after this one and is still open goes on without it.
      auto ended = std::find_if(open.begin(), open.end(), [&](const Open& one) { return one.opening == mark.opening; });
      weight = ended->before;
      for (auto later = open.erase(ended); later != open.end(); ++later) {
        later->before = weight;
        weight *= marks[later->opening].factor;
      }
      continue;
    }
    if (!(std::abs(weight) <= max_prompt_weight)) {
      return Error{Status::invalid_argument,
                   fmt::format("{} weighs {} by {:.6g}; weights are at most {} either way", field,
                               shown(first_bytes(mark.words, 40)), weight, max_prompt_weight),
                   {}};
    }
    bool starts_chunk = false;
    for (std::size_t from = 0;;) {
      const auto found = find_break(mark.words, from);
      auto text = mark.words.substr(from, found == std::string_view::npos ? found : found - from);
      if (starts_chunk) text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
      if (found != std::string_view::npos) text = text.substr(0, text.find_last_not_of(blanks) + 1);
      add_text(pieces, text, weight, starts_chunk);
      if (found == std::string_view::npos) break;
      from = found + 5;
      starts_chunk = true;
    }
  }
  if (pieces.empty()) pieces.push_back({});
  return pieces;
}

}  // namespace gf::pipeline
