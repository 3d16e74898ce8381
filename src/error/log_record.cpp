#include "error/log_record.hpp"

#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <type_traits>

namespace gf::error {
namespace {

/// ISO 8601 in UTC. The day by the civil-from-days algorithm (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms"), since the C library's functions look at the locale's and the environment's files.
void append_time(std::string& out, std::int64_t unix_us) {
  auto seconds = unix_us / 1'000'000;
  auto micros = unix_us % 1'000'000;
  if (micros < 0) {
    micros += 1'000'000;
    --seconds;
  }
  auto days = seconds / 86400;
  auto rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  const auto z = days + 719468;
  const auto era = (z >= 0 ? z : z - 146096) / 146097;
  const auto doe = z - era * 146097;
  const auto yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const auto doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const auto mp = (5 * doy + 2) / 153;
  const auto day = doy - (153 * mp + 2) / 5 + 1;
  const auto month = mp < 10 ? mp + 3 : mp - 9;
  const auto year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", year, month, day, rest / 3600,
                 rest / 60 % 60, rest % 60, micros);
}

}  // namespace

void append_shown(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto escape = [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c >= ' ' && c < 127) {  // Nearly all there is.
      out += c;
      ++at;
      continue;
    }
    if (c == '\n' || c == '\r' || c == '\t') {
      out += '\\';
      out += c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
      ++at;
      continue;
    }
    const auto begin = at;
    const auto point = next_code_point(text, at);
    // C1 controls, and the separators and directions that terminals and editors take for line ends or more.
    if (!point || *point < 0xA0 || *point == 0x2028 || *point == 0x2029 || (*point >= 0x202A && *point <= 0x202E) ||
        (*point >= 0x2066 && *point <= 0x2069)) {
      if (!point) ++at;
      for (auto byte = begin; byte < at; ++byte) escape(text[byte]);
    } else {
      out += text.substr(begin, at - begin);
    }
  }
}

namespace {

/// A word, or in quotes where it would not be read as one.
void append_value(std::string& out, std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" =\"\\") == std::string_view::npos;
  if (plain) {
    append_shown(out, text);
    return;
  }
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find_first_of("\"\\", at), text.size());
    append_shown(out, text.substr(at, end - at));
    if (end < text.size()) {
      out += '\\';
      out += text[end];
    }
    at = end + 1;
  }
  out += '"';
}

bool is_secret_value_end(char c) {
  return c == ' ' || c == '&' || c == ',' || c == ';' || c == '\n' || c == '\t' || c == ')' || c == '}';
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_key(char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

bool equal_lower(std::string_view text, std::string_view lower_word) {
  return text.size() == lower_word.size() &&
         std::equal(text.begin(), text.end(), lower_word.begin(), [](char a, char b) { return lower(a) == b; });
}

constexpr std::array<std::string_view, 11> secret_words = {"password",    "passwd", "secret",     "token",
                                                           "api_key",     "apikey", "access_key", "authorization",
                                                           "private_key", "auth",   "requirepass"};

}  // namespace

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::off:
      return "off";
    case LogLevel::error:
      return "error";
    case LogLevel::warning:
      return "warning";
    case LogLevel::info:
      return "info";
    case LogLevel::debug:
      return "debug";
  }
  return "unknown";
}

void append_plain(std::string& out, const LogRecord& record) {
  append_shown(out, record.message);
  for (const auto& field : record.fields) {
    out += ' ';
    append_shown(out, field.key);
    out += '=';
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string_view>) {
            append_value(out, value);
          } else {
            fmt::format_to(std::back_inserter(out), "{}", value);
          }
        },
        field.value);
  }
  if (!record.context.job.is_nil()) out += " job=" + gf::to_text(record.context.job);
  if (record.context.trace.is_set()) {
    out += " trace=" + trace_id_text(record.context.trace) + " span=" + span_id_text(record.context.trace);
  }
  if (record.repeated > 0) fmt::format_to(std::back_inserter(out), " (repeated {} times)", record.repeated);
}

void append_text(std::string& out, const LogRecord& record) {
  append_time(out, record.unix_us);
  fmt::format_to(std::back_inserter(out), " {} ", name_of(record.level));
  append_shown(out, record.module);
  fmt::format_to(std::back_inserter(out), " [{}] ", record.thread);
  append_plain(out, record);
  out += '\n';
}

void append_json(std::string& out, const LogRecord& record) {
  std::string time;
  append_time(time, record.unix_us);
  JsonText json;
  json.begin_object().key("time").text(time).key("level").text(name_of(record.level));
  json.key("module").text(record.module).key("thread").number(std::uint64_t{record.thread});
  json.key("message").text(record.message);
  if (!record.context.job.is_nil()) json.key("job").text(gf::to_text(record.context.job));
  if (record.context.trace.is_set()) {
    json.key("trace_id").text(trace_id_text(record.context.trace));
    json.key("span_id").text(span_id_text(record.context.trace));
  }
  if (!record.fields.empty()) {
    json.key("fields").begin_object();
    for (const auto& field : record.fields) {
      json.key(field.key);
      std::visit(
          [&](const auto& value) {
            using Value = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<Value, std::string_view>) {
              json.text(value);
            } else if constexpr (std::is_same_v<Value, bool>) {
              json.truth(value);
            } else if constexpr (std::is_same_v<Value, double>) {
              // JSON has no infinities; fmt writes numbers without the locale.
              if (std::isfinite(value)) {
                json.json(fmt::format("{}", value));
              } else {
                json.text(fmt::format("{}", value));
              }
            } else {
              json.number(value);
            }
          },
          field.value);
    }
    json.end_object();
  }
  if (record.repeated > 0) json.key("repeated").number(record.repeated);
  if (record.dropped > 0) json.key("dropped").number(record.dropped);
  out += std::move(json.end_object()).str();
  out += '\n';
}

void append(std::string& out, const LogRecord& record, LogFormat format) {
  switch (format) {
    case LogFormat::plain:
      append_plain(out, record);
      break;
    case LogFormat::text:
      append_text(out, record);
      break;
    case LogFormat::json:
      append_json(out, record);
      break;
  }
}

bool is_secret_key(std::string_view key) {
  // "redis_password" as well as "password": the last words count.
  return std::any_of(secret_words.begin(), secret_words.end(), [&](std::string_view word) {
    if (key.size() < word.size() || !equal_lower(key.substr(key.size() - word.size()), word)) return false;
    return key.size() == word.size() || key[key.size() - word.size() - 1] == '_' ||
           key[key.size() - word.size() - 1] == '-' || key[key.size() - word.size() - 1] == '.' || word != "auth";
  });
}

bool mask_secrets(std::string& text) {
  bool masked = false;
  // URLs: between "://" and the last '@' before the path, behind the first ':'.
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at)) {
    at += 3;
    const auto end = std::min(text.find_first_of("/?# \t\n\"'<>", at), text.size());
    const auto host = text.rfind('@', end > 0 ? end - 1 : 0);
    if (host == std::string::npos || host < at || host >= end) continue;
    const auto colon = text.find(':', at);
    if (colon == std::string::npos || colon >= host) continue;
    text.replace(colon + 1, host - colon - 1, "***");
    masked = true;
  }
  // Words: "password=..." and "Authorization: Bearer ...".
  for (auto at = text.find_first_of("=:"); at != std::string::npos; at = text.find_first_of("=:", at + 1)) {
    auto end = at;
    while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '"' || text[end - 1] == '\'')) --end;
    auto begin = end;
    while (begin > 0 && is_key(text[begin - 1])) {
      --begin;
    }
    if (begin == end || !is_secret_key(std::string_view(text).substr(begin, end - begin))) continue;
    auto from = at + 1;
    while (from < text.size() && text[from] == ' ') ++from;
    if (from >= text.size()) break;
    auto to = from;
    if (text[from] == '"' || text[from] == '\'') {
      const auto close = text.find(text[from], from + 1);
      ++from;
      to = close == std::string::npos ? text.size() : close;
    } else {
      while (to < text.size() && !is_secret_value_end(text[to])) ++to;
      // "Bearer xyz": the word names the scheme, what follows is the secret.
      const auto word = std::string_view(text).substr(from, to - from);
      if (to < text.size() && text[to] == ' ' && (equal_lower(word, "bearer") || equal_lower(word, "basic"))) {
        from = to + 1;
        to = from;
        while (to < text.size() && !is_secret_value_end(text[to])) ++to;
      }
    }
    if (to == from) continue;
    text.replace(from, to - from, "***");
    masked = true;
    at = from;
  }
  return masked;
}

}  // namespace gf::error
