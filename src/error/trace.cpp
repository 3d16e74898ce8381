#include "error/trace.hpp"

#include <fmt/format.h>

namespace gf::error {
namespace {

std::optional<std::uint64_t> hex(std::string_view text) {
  std::uint64_t value = 0;
  for (const char c : text) {
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    value = value << 4 | digit;
  }
  return value;
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view text) {
  if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  const auto version = hex(text.substr(0, 2));
  if (!version || *version == 0xFF) return std::nullopt;
  if (*version == 0 ? text.size() != 55 : text.size() > 55 && text[55] != '-') return std::nullopt;
  const auto high = hex(text.substr(3, 16));
  const auto low = hex(text.substr(19, 16));
  const auto span = hex(text.substr(36, 16));
  const auto flags = hex(text.substr(53, 2));
  if (!high || !low || !span || !flags) return std::nullopt;
  TraceContext out{*high, *low, *span, static_cast<std::uint8_t>(*flags)};
  if (!out.is_set()) return std::nullopt;
  return out;
}

std::string to_traceparent(const TraceContext& trace) {
  return fmt::format("00-{:016x}{:016x}-{:016x}-{:02x}", trace.trace_high, trace.trace_low, trace.span, trace.flags);
}

std::string trace_id_text(const TraceContext& trace) {
  return fmt::format("{:016x}{:016x}", trace.trace_high, trace.trace_low);
}

std::string span_id_text(const TraceContext& trace) { return fmt::format("{:016x}", trace.span); }

}  // namespace gf::error
