// Trace context: whose request a line of the log belongs to, as W3C has it, so that a host's own tracing goes on in
// ours.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gf::error {

/// Source: W3C Trace Context, level 1 (Recommendation of 2021-11-23), section 3.2, `traceparent`.
struct TraceContext {
  std::uint64_t trace_high = 0;
  std::uint64_t trace_low = 0;
  std::uint64_t span = 0;
  std::uint8_t flags = 0;  ///< Bit 0: sampled.

  bool is_set() const { return (trace_high | trace_low) != 0 && span != 0; }
  bool operator==(const TraceContext&) const = default;
};

/// nullopt where the text is no traceparent: other lengths, upper-case digits, ids of zeros, version ff. Of versions
/// above 00 the first four fields are read, as section 3.2.4 asks for.
std::optional<TraceContext> parse_traceparent(std::string_view text);
/// 55 characters, version 00.
std::string to_traceparent(const TraceContext& trace);
/// 32 and 16 lower-case hex digits.
std::string trace_id_text(const TraceContext& trace);
std::string span_id_text(const TraceContext& trace);

}  // namespace gf::error
