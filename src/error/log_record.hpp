// One line of the log, and how it looks as text and as JSON.
#pragma once

#include "base/ids.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "error/trace.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace gf::error {

/// A value beside the text, so that nobody has to parse that.
struct LogField {
  std::string_view key;
  std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool> value;
};

/// What a line belongs to; all may be empty.
struct LogContext {
  JobId job;
  TraceContext trace;
};

/// Texts are borrowed for the call that shows the record.
struct LogRecord {
  LogLevel level = LogLevel::info;
  std::int64_t unix_us = 0;
  std::uint32_t thread = 0;
  std::string_view module;
  std::string_view message;
  LogContext context;
  std::span<const LogField> fields;
  std::uint64_t repeated = 0;  ///< Above 0: this line stands for so many more like it that were left out.
  std::uint64_t dropped = 0;   ///< Above 0: so many lines before this one were lost.
};

std::string_view name_of(LogLevel level);

/// How a record looks: `plain` is the message and what belongs to it, for whoever has level, time and module already.
enum class LogFormat : std::uint32_t { plain = 0, text = 1, json = 2 };

/// On one line, whatever it holds: see append_text.
void append_shown(std::string& out, std::string_view text);
/// "message key=value job=... trace=..." without a newline, escaped as append_text does.
void append_plain(std::string& out, const LogRecord& record);
/// "2026-11-25T03:04:05.123456Z error torch [4711] message key=value job=... trace=..." and a newline. One record is
/// one line: control characters are written as \n or \x1b, bytes that are not UTF-8 as \xff.
void append_text(std::string& out, const LogRecord& record);
/// One JSON object and a newline. Bytes that are not UTF-8 become U+FFFD.
void append_json(std::string& out, const LogRecord& record);
void append(std::string& out, const LogRecord& record, LogFormat format);

/// Replaces what must not be read by whoever reads logs: the password in a URL ("redis://user:***@host"), and the value
/// behind password, passwd, secret, token, api_key, access_key and authorization with '=' or ':'. True: something was.
bool mask_secrets(std::string& text);
/// Whether a field of that name holds a secret by itself.
bool is_secret_key(std::string_view key);

}  // namespace gf::error
