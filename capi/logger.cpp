// Loggers and the crash note at the ABI.
#include "error/logger.hpp"

#include "base/ids.hpp"
#include "buffers.hpp"
#include "error/crash_note.hpp"
#include "error/log_output.hpp"
#include "error/trace.hpp"
#include "firewall.hpp"
#include "log_poll.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

using gf::Error;
using gf::LogLevel;
using gf::Result;
using gf::Status;
using namespace gf::error;

namespace gf::capi {

/// What a gf_logger stands for.
struct HostedLogger {
  ~HostedLogger() {
    if (callback) callback->mute();
  }

  std::shared_ptr<PollOutput> lines;         // Of gf_logger_poll; null where nobody wants any.
  std::shared_ptr<CallbackOutput> callback;  // Null where there is none.
  std::unique_ptr<Logger> logger;
};

LoggerTable& loggers() {
  static auto& table = *new LoggerTable;
  return table;
}

std::shared_ptr<CrashNote> shared_crash_note() {
  return {std::shared_ptr<CrashNote>(), &process_crash_note()};  // It is nobody's to delete.
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_logger_options) == 96);
static_assert(sizeof(gf_log_value) == 32);
static_assert(sizeof(gf_log_field) == 40);
static_assert(sizeof(gf_log_line) == 64);
static_assert(sizeof(gf_logger_statistics) == 104);
constexpr std::size_t first_options_bytes = 96;
constexpr std::size_t first_line_bytes = 64;
constexpr std::size_t first_statistics_bytes = 104;

static_assert(same(LogFormat::plain, GF_LOG_FORMAT_PLAIN) && same(LogFormat::text, GF_LOG_FORMAT_TEXT) &&
              same(LogFormat::json, GF_LOG_FORMAT_JSON));
static_assert(same(ValueKind::text, GF_LOG_VALUE_TEXT) && same(ValueKind::integer, GF_LOG_VALUE_INTEGER) &&
              same(ValueKind::natural, GF_LOG_VALUE_NATURAL) && same(ValueKind::real, GF_LOG_VALUE_REAL) &&
              same(ValueKind::truth, GF_LOG_VALUE_TRUTH));

/// A level that a line may have.
Result<LogLevel> line_level(std::uint32_t level, std::string_view what) {
  if (level < GF_LOG_ERROR || level > GF_LOG_DEBUG) return unknown_value(what, level, GF_LOG_ERROR, GF_LOG_DEBUG);
  return static_cast<LogLevel>(level);
}

/// The plain format has no time and no end, so that a file has none of it.
LogFormat whole_line(LogFormat format) { return format == LogFormat::plain ? LogFormat::text : format; }

struct ReadOptions {
  LoggerOptions logger;
  std::shared_ptr<PollOutput> lines;
  std::shared_ptr<CallbackOutput> callback;
};

Result<ReadOptions> read_logger_options(const gf_logger_options* given) {
  GF_TRY(const auto read,
         read_options(given, gf_logger_options GF_LOGGER_OPTIONS_INIT, first_options_bytes, "options"));
  ReadOptions out;
  auto& options = out.logger;
  const auto level_or = [](std::uint32_t level, std::string_view what, LogLevel otherwise) -> Result<LogLevel> {
    GF_TRY(const auto wanted, known(level, LogLevel::debug, what));
    return wanted == LogLevel::off ? otherwise : wanted;
  };
  GF_TRY(options.level, level_or(read.level, "options->level", LogLevel::info));
  GF_TRY(options.wait_from, level_or(read.wait_level, "options->wait_level", LogLevel::debug));
  if (read.ring_bytes != 0) options.ring_bytes = read.ring_bytes;
  if (read.ring_limit != 0) options.ring_limit = read.ring_limit;
  if (read.full_wait_us != 0) options.full_wait_us = read.full_wait_us == GF_NEVER ? 0 : read.full_wait_us;
  constexpr auto all = std::numeric_limits<std::uint32_t>::max();
  if (read.repeats_per_s != 0) options.repeats_per_s = read.repeats_per_s == all ? 0 : read.repeats_per_s;
  GF_TRY(const auto note, truth(read.keep_crash_note, "options->keep_crash_note"));
  if (note) options.crash_note = shared_crash_note();

  GF_TRY(const auto poll_format, known(read.poll_format, LogFormat::json, "options->poll_format"));
  if (read.poll_lines > 65536) {
    return invalid(fmt::format("options->poll_lines is {}; it must be 0 to 65536", read.poll_lines));
  }
  if (read.poll_lines != 0) {
    out.lines = std::make_shared<PollOutput>(read.poll_lines, poll_format);
    options.outputs.push_back(out.lines);
  }
  GF_TRY(const auto callback_format, known(read.callback_format, LogFormat::json, "options->callback_format"));
  if (read.callback != nullptr) {
    const auto show = [call = read.callback, user_data = read.user_data, callback_format](const LogRecord& record) {
      std::string module;
      append_shown(module, record.module);
      std::string message;
      append(message, record, callback_format);
      if (message.ends_with('\n')) message.pop_back();
      const auto out_record = public_record(record.level, record.unix_us, record.dropped, record.repeated);
      call(user_data, &out_record, module.c_str(), message.c_str());
    };
    out.callback = std::make_shared<CallbackOutput>(show);
    options.outputs.push_back(out.callback);
  }
  GF_TRY(const auto descriptor_format, known(read.descriptor_format, LogFormat::json, "options->descriptor_format"));
  if (read.descriptor > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) {
    return invalid(fmt::format("options->descriptor is {}, which is no descriptor", read.descriptor));
  }
  if (read.descriptor != 0) {
    options.outputs.push_back(
        std::make_shared<DescriptorOutput>(static_cast<int>(read.descriptor), whole_line(descriptor_format)));
  }
  GF_TRY(const auto file_format, known(read.file_format, LogFormat::json, "options->file_format"));
  if (read.file_path != nullptr) {
    FileOutputOptions file;
    file.path = read.file_path;
    file.format = whole_line(file_format);
    if (read.file_max_bytes != 0) file.max_bytes = read.file_max_bytes;
    if (read.file_kept_files != 0) file.kept_files = read.file_kept_files == all ? 0 : read.file_kept_files;
    GF_TRY(auto opened, FileOutput::open(file));
    options.outputs.push_back(std::shared_ptr<FileOutput>(std::move(opened)));
  }
  return out;
}

Result<LogArgument> read_value(const gf_log_value& value, std::string_view list, std::uint32_t index,
                               std::string_view member) {
  const auto named = [&](std::string_view field) {
    return fmt::format("line->{}[{}]{}.{}", list, index, member, field);
  };
  if (value.kind > GF_LOG_VALUE_TRUTH) return unknown_value(named("kind"), value.kind, 0, GF_LOG_VALUE_TRUTH);
  if (value.reserved != 0) return unknown_value(named("reserved"), value.reserved, 0, 0);
  LogArgument out;
  out.kind = static_cast<ValueKind>(value.kind);
  switch (out.kind) {
    case ValueKind::text:
      if (value.text == nullptr) return invalid(named("text") + " is NULL");
      out.text = value.text;
      out.value = std::string_view(value.text).size();
      break;
    case ValueKind::real:
      out.value = std::bit_cast<std::uint64_t>(value.real);
      break;
    case ValueKind::truth:
      out.value = value.integer != 0 ? 1 : 0;
      break;
    case ValueKind::integer:
    case ValueKind::natural:
      out.value = static_cast<std::uint64_t>(value.integer);
      break;
  }
  return out;
}

LogField field_of(const char* key, const LogArgument& value) {
  LogField out{key, {}};
  switch (value.kind) {
    case ValueKind::text:
      out.value = std::string_view(value.text, static_cast<std::size_t>(value.value));
      break;
    case ValueKind::integer:
      out.value = static_cast<std::int64_t>(value.value);
      break;
    case ValueKind::natural:
      out.value = value.value;
      break;
    case ValueKind::real:
      out.value = std::bit_cast<double>(value.value);
      break;
    case ValueKind::truth:
      out.value = value.value != 0;
      break;
  }
  return out;
}

Result<void> check_list(std::string_view name, const void* list, std::uint32_t count, std::size_t most) {
  if (count > most) return invalid(fmt::format("line->{}_count is {}; it must be 0 to {}", name, count, most));
  if (count != 0 && list == nullptr) {
    return invalid(fmt::format("line->{0}s is NULL, and line->{0}_count {1}", name, count));
  }
  return success();
}

Result<void> write_line(Logger& logger, const gf_log_line* given) {
  if (given == nullptr) return invalid("line is NULL");
  GF_TRY(const auto line, read_options(given, gf_log_line GF_LOG_LINE_INIT, first_line_bytes, "line"));
  GF_TRY(const auto level, line_level(line.level, "line->level"));
  GF_TRY(const auto module, needed_text(line.module, "line->module"));
  GF_TRY(const auto message, needed_text(line.message, "line->message"));
  GF_TRYV(check_list("argument", line.arguments, line.argument_count, Logger::most_arguments));
  GF_TRYV(check_list("field", line.fields, line.field_count, Logger::most_fields));
  std::array<LogArgument, Logger::most_arguments> arguments;
  for (std::uint32_t index = 0; index < line.argument_count; ++index) {
    GF_TRY(arguments[index], read_value(line.arguments[index], "arguments", index, ""));
  }
  std::array<LogField, Logger::most_fields> fields;
  for (std::uint32_t index = 0; index < line.field_count; ++index) {
    const auto* const key = line.fields[index].key;
    if (key == nullptr) return invalid(fmt::format("line->fields[{}].key is NULL", index));
    GF_TRY(const auto value, read_value(line.fields[index].value, "fields", index, ".value"));
    fields[index] = field_of(key, value);
  }
  LogContext context;
  if (line.job != nullptr) context.job = {line.job->high, line.job->low};
  if (line.traceparent != nullptr) {
    const auto trace = parse_traceparent(line.traceparent);
    if (!trace) return invalid("line->traceparent is no traceparent as W3C Trace Context has it");
    context.trace = *trace;
  }
  const std::span<const LogField> used_fields(fields.data(), line.field_count);
  if (line.argument_count == 0) {
    logger.write(level, module, message, context, used_fields);
  } else {
    logger.write_format(level, module, message, {arguments.data(), line.argument_count}, context, used_fields);
  }
  return success();
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_logger_open(const gf_logger_options* options, gf_logger** out_logger) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_logger, "out_logger"));
    GF_TRY(auto read, read_logger_options(options));
    auto hosted = std::make_shared<HostedLogger>();
    hosted->lines = std::move(read.lines);
    hosted->callback = std::move(read.callback);
    GF_TRY(hosted->logger, Logger::open(read.logger));
    *out_logger = loggers().insert(std::move(hosted));
    return gf::success();
  });
}

gf_status gf_logger_set_level(gf_logger* logger, uint32_t level) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    GF_TRY(const auto wanted, known(level, LogLevel::debug, "level"));
    found->logger->set_level(wanted);
    return gf::success();
  });
}

gf_status gf_logger_log(gf_logger* logger, uint32_t level, const char* module, const char* message) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    GF_TRY(const auto wanted, line_level(level, "level"));
    GF_TRY(const auto from, needed_text(module, "module"));
    GF_TRY(const auto text, needed_text(message, "message"));
    found->logger->write(wanted, from, text);
    return gf::success();
  });
}

gf_status gf_logger_write(gf_logger* logger, const gf_log_line* line) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    return write_line(*found->logger, line);
  });
}

gf_status gf_logger_poll(gf_logger* logger, gf_log_record* out_record, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    return poll_line(out_record, buffer, size, [&](const auto& take) {
      const bool with_module = found->lines && found->lines->format() == LogFormat::plain;
      return found->lines && found->lines->poll([&take, with_module](const PollOutput::Line& line) {
        return take(public_record(line.level, line.unix_us, line.dropped, line.repeated), with_module, line.module,
                    line.message);
      });
    });
  });
}

gf_status gf_logger_flush(gf_logger* logger, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    return found->logger->flush(timeout_us);
  });
}

gf_status gf_logger_read_statistics(gf_logger* logger, gf_logger_statistics* out_statistics) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    GF_TRYV(check_out(out_statistics, first_statistics_bytes, "out_statistics"));
    const auto now = found->logger->statistics();
    gf_logger_statistics out = GF_LOGGER_STATISTICS_INIT;
    out.written = now.written;
    out.shown = now.shown;
    out.dropped_error = now.dropped[static_cast<std::size_t>(LogLevel::error)];
    out.dropped_warning = now.dropped[static_cast<std::size_t>(LogLevel::warning)];
    out.dropped_info = now.dropped[static_cast<std::size_t>(LogLevel::info)];
    out.dropped_debug = now.dropped[static_cast<std::size_t>(LogLevel::debug)];
    out.left_out = now.left_out;
    out.output_failures = now.output_failures;
    out.masked = now.masked;
    out.format_errors = now.format_errors;
    out.recursive = now.recursive;
    out.wake_ups = now.wake_ups;
    write_out(out_statistics, out);
    return gf::success();
  });
}

gf_status gf_logger_close(gf_logger* logger, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    if (logger == nullptr) return gf::success();
    GF_TRY(const auto found, find(loggers(), logger, "logger"));
    if (timeout_us < 0) return invalid(fmt::format("timeout_us is {}; it must be at least 0", timeout_us));
    if (found->logger->is_own_thread()) {
      return Error{Status::wrong_state, "the logger cannot be closed from inside its callback", {}};
    }
    if (!loggers().take(logger)) return no_handle(logger, "logger");
    auto closed = found->logger->close(timeout_us);
    if (found->callback) found->callback->mute();
    return closed;
  });
}

gf_status gf_crash_note_write(int32_t descriptor) {
  // Not behind the firewall, whose last error takes memory: this runs in signal handlers.
  return process_crash_note().write(descriptor) ? GF_OK : GF_ERR_IO;
}

gf_status gf_crash_note_keep(const char* line) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto text, needed_text(line, "line"));
    // Looked at with some more behind the cut, so that a secret is known by what follows it.
    std::string kept(text.substr(0, 2 * CrashNote::line_bytes));
    mask_secrets(kept);
    std::string shown;
    append_shown(shown, kept);
    process_crash_note().keep(shown);
    return gf::success();
  });
}

}  // extern "C"
