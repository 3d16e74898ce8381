// The logger: a call costs a copy into the thread's own ring; one thread behind formats and hands on.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "error/crash_note.hpp"
#include "error/log_output.hpp"
#include "error/log_record.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace gf::error {

struct LoggerOptions {
  LogLevel level = LogLevel::info;
  std::uint32_t ring_bytes = 262144;   ///< Of each thread; a power of two, 65536 to 16 MiB.
  std::uint32_t ring_limit = 15;       ///< Threads with a ring of their own; further ones share one. 1 to 1024.
  std::int64_t full_wait_us = 10'000;  ///< How long a call waits for room before its line is lost; 0 to 1 s.
  /// Levels below this never wait for room: a host's call has a frame to make. Errors wait by default, debug too.
  LogLevel wait_from = LogLevel::debug;
  /// Lines of one kind (level, module, template) let through a second; what is more is told once, as "repeated". 0:
  /// all.
  std::uint32_t repeats_per_s = 50;
  const Clock* clock = nullptr;           ///< nullptr: system_clock(). Must outlive the logger's thread.
  std::shared_ptr<CrashNote> crash_note;  ///< Gets the last lines; may be null. Shared with whoever writes it out.
  std::vector<std::shared_ptr<LogOutput>> outputs;  ///< Shared with the back end, which may outlive close().
};

struct LoggerStatistics {
  std::uint64_t written = 0;          ///< Lines that came into a ring.
  std::uint64_t shown = 0;            ///< Records handed to the outputs, those about losses and repeats included.
  std::uint64_t dropped[5] = {};      ///< Lines lost for want of room, by level.
  std::uint64_t left_out = 0;         ///< Lines that a "repeated" line stands for.
  std::uint64_t output_failures = 0;  ///< Writes or flushes that an output refused or threw at.
  std::uint64_t masked = 0;           ///< Lines in which a secret was masked.
  std::uint64_t wake_ups = 0;         ///< Of the back end.
};

/// Structured logging for a guest. Each thread writes to a ring of its own without a lock; the back end orders lines by
/// time, masks secrets, holds back what repeats, and hands them to the outputs. While nothing is logged it sleeps
/// without a timeout.
///
/// A caller wakes it only when it sleeps. After a line it stays half awake for 200 ms and looks every 5 ms, so that
/// steady logging costs its callers no system call; an error is with the outputs within 10 ms either way.
///
/// Lines of one thread stay in order; of several they are ordered by their time as far as they have arrived. Lines lost
/// for want of room are counted by level and told in a line where the gap is.
///
/// The method (a queue for each thread, a back end that orders and formats) is quill's; what callers copy here is text.
///
/// Threads: any, for every function. In a fork's child the logger is off and nothing waits.
class Logger final : public LogSink {
 public:
  static constexpr std::size_t longest_message = 16384;  ///< Bytes; the rest is cut off, and the line says how much.
  static constexpr std::size_t most_fields = 16;

  /// Errors: invalid_argument names the option; io_error when the thread could not be started.
  static Result<std::unique_ptr<Logger>> open(const LoggerOptions& options);
  /// Closes without waiting for outputs that hang.
  ~Logger() override;
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool enabled(LogLevel level) const noexcept override {
    return static_cast<std::uint32_t>(level) <= level_.load(std::memory_order_relaxed) && level != LogLevel::off;
  }
  void set_level(LogLevel level) noexcept {
    level_.store(static_cast<std::uint32_t>(level), std::memory_order_relaxed);
  }

  // NOLINTNEXTLINE(bugprone-exception-escape): see put.
  void write(LogLevel level, std::string_view module, std::string_view message) noexcept override {
    if (enabled(level)) put(level, module, message, {}, {});
  }
  /// fields: at most most_fields, further ones are left out.
  // NOLINTNEXTLINE(bugprone-exception-escape): see put.
  void write(LogLevel level, std::string_view module, std::string_view message, const LogContext& context,
             std::span<const LogField> fields = {}) noexcept {
    if (enabled(level)) put(level, module, message, context, fields);
  }

  /// Returns when every line written before by this thread, and what others had finished writing, is with the outputs
  /// and flushed there. Errors: timed_out says how many lines are not; wrong_state after close or in a fork's child.
  Result<void> flush(std::int64_t timeout_us);
  /// Takes no more lines, hands on the rest and ends the thread; waits at most so long. Once it has returned no output
  /// is called any more, unless it timed out: then one that hangs is left behind. Errors: timed_out.
  Result<void> close(std::int64_t timeout_us);
  LoggerStatistics statistics() const;

 private:
  struct Core;
  struct Ring;
  struct RingsOfThread;
  friend struct RingsOfThread;

  explicit Logger(std::shared_ptr<Core> core);
  // NOLINTNEXTLINE(bugprone-exception-escape): std::visit throws for a variant without a value; these always have one.
  void put(LogLevel level, std::string_view module, std::string_view message, const LogContext& context,
           std::span<const LogField> fields) noexcept;
  Ring* ring_of_thread() noexcept;

  std::shared_ptr<Core> core_;  // Shared with the back end and, as rings, with threads that have written.
  std::atomic<std::uint32_t> level_;
};

}  // namespace gf::error
