#include "engine/engine_log.hpp"

#include "error/log_record.hpp"

#include <utility>

namespace gf::engine {

Result<std::unique_ptr<EngineLog>> EngineLog::open(const EngineOptions& options) {
  std::unique_ptr<EngineLog> out(new EngineLog);
  if (options.log_level == LogLevel::off) return out;
  error::LoggerOptions wanted;
  wanted.level = options.log_level;
  wanted.ring_bytes = 131072;
  wanted.ring_limit = 31;
  wanted.full_wait_us = 0;
  wanted.repeats_per_s = repeats_per_s;
  wanted.crash_note = options.crash_note;
  // The machine's own is the logger's, which reads it behind the caller.
  if (options.clock != &system_clock()) wanted.clock = options.clock;
  if (options.log_callback) {
    out->callback_ =
        std::make_shared<error::CallbackOutput>([call = options.log_callback](const error::LogRecord& record) {
          LogLine line;
          line.level = record.level;
          line.unix_us = record.unix_us;
          line.dropped = record.dropped;
          line.repeated = record.repeated;
          error::append_shown(line.module, record.module);
          error::append_plain(line.message, record);
          call(line);
        });
    wanted.outputs = {out->callback_};
  } else {
    wanted.polled = true;
  }
  GF_TRY(out->logger_, error::Logger::open(wanted));
  return out;
}

bool EngineLog::poll(const std::function<bool(const LogLine&)>& take) {
  if (!logger_) return false;
  return logger_->poll([&take](const error::PollOutput::Line& line) {
    return take({line.level, line.unix_us, line.dropped, line.repeated, line.module, line.message});
  });
}

}  // namespace gf::engine
