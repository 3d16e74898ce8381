// JSON as text, written from front to back: for what must be told when there is no memory left. nlohmann's documents
// (3.11.2) cannot serve there: one that is half made crashes in its destructor, and any that holds others allocates in
// it, which is noexcept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

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
  JsonText& truth(bool value);
  /// A document that is written already.
  JsonText& json(std::string_view value);

  const std::string& str() const& { return out_; }
  std::string str() && { return std::move(out_); }

 private:
  void separate();
  void quote(std::string_view value);

  std::string out_;
  bool fresh_ = true;  // Nothing stands before the next value on its level, or its key does.
};

}  // namespace gf
