#include "base/utf8.hpp"

#include <algorithm>

namespace gf {

std::optional<char32_t> next_code_point(std::string_view text, std::size_t& position) noexcept {
  if (position >= text.size()) return std::nullopt;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(position);
  if (first < 0x80) {
    ++position;
    return static_cast<char32_t>(first);
  }
  std::size_t extra = 0;
  char32_t value = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;  // Bounds of the second byte; they keep out overlong forms, surrogates and values past the end.
  if (first >= 0xC2 && first <= 0xDF) {
    extra = 1;
    value = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    extra = 2;
    value = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    extra = 3;
    value = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return std::nullopt;
  }
  if (text.size() - position <= extra) return std::nullopt;
  for (std::size_t i = 1; i <= extra; ++i) {
    const unsigned next = byte(position + i);
    if (next < low || next > high) return std::nullopt;
    value = (value << 6) | (next & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  position += extra + 1;
  return value;
}

std::optional<std::size_t> first_invalid_utf8(std::string_view text) noexcept {
  std::size_t position = 0;
  while (position < text.size()) {
    if (!next_code_point(text, position)) return position;
  }
  return std::nullopt;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t value) { out.push_back(static_cast<char>(value)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string_view first_bytes(std::string_view text, std::size_t most) noexcept {
  auto size = std::min(text.size(), most);
  while (size > 0 && size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

std::string shown(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::string out = "\"";
  std::size_t position = 0;
  while (position < text.size() && out.size() < longest) {
    const auto code_point = next_code_point(text, position);
    if (!code_point) {
      out.push_back('?');
      ++position;
    } else if (*code_point < 0x20 || (*code_point >= 0x7F && *code_point < 0xA0)) {
      out.push_back('?');  // Control characters could forge a line of a log.
    } else {
      append_utf8(out, *code_point);
    }
  }
  if (position < text.size()) out += "...";
  out.push_back('"');
  return out;
}

}  // namespace gf
