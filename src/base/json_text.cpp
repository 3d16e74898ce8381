#include "base/json_text.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <iterator>

namespace gf {

void JsonText::separate() {
  if (!fresh_) out_ += ',';
  fresh_ = false;
}

void JsonText::quote(std::string_view value) {
  out_ += '"';
  for (std::size_t at = 0; at < value.size();) {
    const auto begin = at;
    const auto point = next_code_point(value, at);
    if (!point) {
      out_ += "\xEF\xBF\xBD";
      ++at;
    } else if (*point == '"' || *point == '\\') {
      out_ += '\\';
      out_ += value[begin];
    } else if (*point == '\n') {
      out_ += "\\n";
    } else if (*point < 0x20) {
      fmt::format_to(std::back_inserter(out_), "\\u{:04x}", static_cast<unsigned>(*point));
    } else {
      out_ += value.substr(begin, at - begin);
    }
  }
  out_ += '"';
}

JsonText& JsonText::begin_object() {
  separate();
  out_ += '{';
  fresh_ = true;
  return *this;
}

JsonText& JsonText::end_object() {
  out_ += '}';
  fresh_ = false;
  return *this;
}

JsonText& JsonText::begin_array() {
  separate();
  out_ += '[';
  fresh_ = true;
  return *this;
}

JsonText& JsonText::end_array() {
  out_ += ']';
  fresh_ = false;
  return *this;
}

JsonText& JsonText::key(std::string_view name) {
  separate();
  quote(name);
  out_ += ':';
  fresh_ = true;
  return *this;
}

JsonText& JsonText::text(std::string_view value) {
  separate();
  quote(value);
  return *this;
}

JsonText& JsonText::number(std::int64_t value) { return json(fmt::format_int(value).c_str()); }

JsonText& JsonText::number(std::uint64_t value) { return json(fmt::format_int(value).c_str()); }

JsonText& JsonText::number(double value) {
  if (!std::isfinite(value)) return null();
  separate();
  const auto from = out_.size();
  fmt::format_to(std::back_inserter(out_), "{}", value);
  // A reader that tells whole numbers from others should find the same kind whatever the value.
  if (out_.find_first_of(".e", from) == std::string::npos) out_ += ".0";
  return *this;
}

JsonText& JsonText::null() { return json("null"); }

JsonText& JsonText::truth(bool value) { return json(value ? "true" : "false"); }

JsonText& JsonText::json(std::string_view value) {
  separate();
  out_ += value;
  return *this;
}

}  // namespace gf
