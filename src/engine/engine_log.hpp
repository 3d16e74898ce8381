// The log of one engine: the error room's logger, polled or with the host's function behind it.
#pragma once

#include "base/log.hpp"
#include "engine/engine.hpp"
#include "error/logger.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace gf::engine {

/// Where nothing is to be logged there is no logger at all. Polled, there is no thread either: a line lies in the ring
/// of the thread that wrote it until it is polled, and a full ring loses what comes next. No line ever makes its writer
/// wait, so that an executor can write under any lock.
///
/// Threads: any.
class EngineLog final : public LogSink {
 public:
  /// Of lines that look alike (see error::LoggerOptions) so many a second are shown; the rest is told in one.
  static constexpr std::uint32_t repeats_per_s = 200;

  /// Errors: io_error when the thread of a callback could not be started. Throws bad_alloc.
  static Result<std::unique_ptr<EngineLog>> open(const EngineOptions& options);

  bool enabled(LogLevel level) const noexcept override { return logger_ && logger_->enabled(level); }
  void write(LogLevel level, std::string_view module, std::string_view message) noexcept override {
    if (logger_) logger_->write(level, module, message);
  }

  /// Shows the next line to `take`, which answers whether it was taken; else it stays. False: there is none, or they go
  /// to a callback.
  bool poll(const std::function<bool(const LogLine&)>& take);
  /// Whether the calling thread is inside the callback.
  bool is_own_thread() const noexcept { return logger_ && logger_->is_own_thread(); }
  /// No callback begins once this has returned.
  void mute() noexcept {
    if (callback_) callback_->mute();
  }
  /// Hands the rest on and ends the thread; waits at most so long. Errors: timed_out.
  Result<void> close(std::int64_t timeout_us) { return logger_ ? logger_->close(timeout_us) : success(); }

 private:
  EngineLog() = default;

  std::unique_ptr<error::Logger> logger_;
  std::shared_ptr<error::CallbackOutput> callback_;  // Shared with the logger's thread, which may outlive us.
};

}  // namespace gf::engine
