// A log line whose text is made later: a format that was checked by the compiler, and its arguments as they are.
#pragma once

#include <fmt/core.h>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace gf::error {

enum class ValueKind : std::uint8_t { text = 0, integer = 1, natural = 2, real = 3, truth = 4 };

/// An argument on its way to the ring. Texts are borrowed until they were copied there.
struct LogArgument {
  ValueKind kind = ValueKind::text;
  std::uint64_t value = 0;  ///< The number's bits, or the text's length.
  const char* text = nullptr;
};

/// Text that is there as long as the library: made of a literal by the compiler, or not at all.
class StaticText {
 public:
  template <std::size_t size>
  consteval StaticText(const char (&literal)[size]) : text_(literal, size - 1) {}  // NOLINT(*-explicit-*)
  constexpr std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

namespace detail {

template <class T>
concept LoggedText = std::convertible_to<const T&, std::string_view> && !std::is_same_v<T, std::nullptr_t>;
template <class T>
concept LoggedNumber =
    std::is_arithmetic_v<T> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> &&
    !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t> && !std::is_same_v<T, long double>;

/// What is kept of an argument, which is also what formats are checked for.
template <class T>
struct Kept;
template <LoggedText T>
struct Kept<T> {
  using type = std::string_view;
};
template <LoggedNumber T>
struct Kept<T> {
  using type =
      std::conditional_t<std::is_same_v<T, bool>, bool,
                         std::conditional_t<std::is_floating_point_v<T>, double,
                                            std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>>;
};

template <class T>
requires LoggedText<T> || LoggedNumber<T>
constexpr LogArgument argument_of(const T& value) {
  if constexpr (LoggedText<T>) {
    const std::string_view text = value;
    return {ValueKind::text, text.size(), text.data()};
  } else if constexpr (std::is_same_v<T, bool>) {
    return {ValueKind::truth, value ? 1u : 0u, nullptr};
  } else if constexpr (std::is_floating_point_v<T>) {
    return {ValueKind::real, std::bit_cast<std::uint64_t>(static_cast<double>(value)), nullptr};
  } else if constexpr (std::is_signed_v<T>) {
    return {ValueKind::integer, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)), nullptr};
  } else {
    return {ValueKind::natural, static_cast<std::uint64_t>(value), nullptr};
  }
}

}  // namespace detail

/// fmt's format, a literal, for arguments of these types. One that does not fit them does not compile.
template <class... Arguments>
class LogFormatText {
 public:
  template <std::size_t size>
  consteval LogFormatText(const char (&literal)[size]) : text_(literal, size - 1) {  // NOLINT(*-explicit-*)
    (void)fmt::format_string<typename detail::Kept<std::remove_cvref_t<Arguments>>::type...>(literal);
  }
  constexpr std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

}  // namespace gf::error
