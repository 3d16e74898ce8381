// JSON as text, written from front to back: every text that the library gives. nlohmann's documents (3.11.2) cannot
// serve where memory has run out: one that is half made crashes in its destructor, and any that holds others allocates
// in it, which is noexcept.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace gf {

/// Writes one document, compact. Calls must nest as JSON does; what is no UTF-8 becomes U+FFFD. Any call may throw
/// bad_alloc, and the writer is then only to be destroyed. Threads: not synchronised; its owner guards it.
class JsonText {
 public:
  JsonText& begin_object();
  JsonText& end_object();
  JsonText& begin_array();
  JsonText& end_array();
  /// The name of the object's next member.
  JsonText& key(std::string_view name);
  JsonText& text(std::string_view value);
  JsonText& number(std::int64_t value);
  JsonText& number(std::uint64_t value);
  /// The shortest digits that read back as the same number; null where it is not finite.
  JsonText& number(double value);
  JsonText& truth(bool value);
  JsonText& null();
  /// A document that is written already.
  JsonText& json(std::string_view value);

  /// An object's member: text, truth, a number, a list of texts, or null for an empty optional.
  template <class T>
  JsonText& member(std::string_view name, const T& value) {
    key(name);
    return put(value);
  }
  /// A member that is null where the text is empty.
  JsonText& text_or_null(std::string_view name, std::string_view value) {
    key(name);
    return value.empty() ? null() : text(value);
  }

  const std::string& str() const& { return out_; }
  std::string str() && { return std::move(out_); }

 private:
  template <class T>
  JsonText& put(const T& value) {
    if constexpr (std::same_as<T, bool>) {
      return truth(value);
    } else if constexpr (std::unsigned_integral<T>) {
      return number(std::uint64_t{value});
    } else if constexpr (std::signed_integral<T>) {
      return number(std::int64_t{value});
    } else if constexpr (std::floating_point<T>) {
      return number(static_cast<double>(value));
    } else {
      return text(value);
    }
  }
  JsonText& put(const std::vector<std::string>& list) {
    begin_array();
    for (const auto& value : list) text(value);
    return end_array();
  }
  template <class T>
  JsonText& put(const std::optional<T>& value) {
    return value ? put(*value) : null();
  }
  void separate();
  void quote(std::string_view value);

  std::string out_;
  bool fresh_ = true;  // Nothing stands before the next value on its level, or its key does.
};

}  // namespace gf
