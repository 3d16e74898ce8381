#include "base/error_json.hpp"

#include <cstdint>

namespace gf {
namespace {

void write_head(JsonText& out, Status status, std::string_view message) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  out.begin_object().member("status", static_cast<std::int32_t>(status));
  out.member("name", entry == nullptr ? "unknown" : entry->name).member("message", message);
}

}  // namespace

void write_cause(JsonText& out, Status status, std::string_view message) {
  write_head(out, status, message);
  out.end_object();
}

void write_error(JsonText& out, Status status, std::string_view message, std::span<const ErrorCause> causes) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  write_head(out, status, message);
  out.key("causes").begin_array();
  for (const auto& cause : causes) write_cause(out, cause.status, cause.message);
  out.end_array().member("retryable", entry != nullptr && entry->retryable);
  out.member("hint", entry == nullptr ? std::string_view() : entry->hint).end_object();
}

}  // namespace gf
