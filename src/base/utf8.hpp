// UTF-8: strict checking, and walking by code point.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gf {

/// The code point at `text[position]`, and moves `position` past it; nullopt where the bytes are not well-formed
/// (Unicode 15, table 3-7: no overlong forms, surrogates or values past U+10FFFF), and then `position` stays.
std::optional<char32_t> next_code_point(std::string_view text, std::size_t& position) noexcept;

/// Offset of the first byte that is not well-formed UTF-8, or nullopt when all of `text` is.
std::optional<std::size_t> first_invalid_utf8(std::string_view text) noexcept;

/// Appends the code point, which must be a scalar value, to `out`.
void append_utf8(std::string& out, char32_t code_point);

/// The first bytes of `text`, at most so many, without a part of a code point at their end.
std::string_view first_bytes(std::string_view text, std::size_t most) noexcept;

/// Text from outside as it may stand in a message: in quotes, on one line, at most about 120 bytes, valid UTF-8.
std::string shown(std::string_view text);

}  // namespace gf
