// The logger: a call costs a copy into the thread's own ring; one thread behind formats and hands on.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "error/crash_note.hpp"
#include "error/log_format.hpp"
#include "error/log_output.hpp"
#include "error/log_record.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
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
  /// No thread, and no outputs: lines stay in the rings until poll() takes them, so that one can be seen as soon as the
  /// call that wrote it has returned. When a ring is full, new lines are lost.
  bool polled = false;
  std::vector<std::shared_ptr<LogOutput>> outputs;  ///< Shared with the back end, which may outlive close().
};

struct LoggerStatistics {
  std::uint64_t written = 0;          ///< Lines that came into a ring.
  std::uint64_t shown = 0;            ///< Records handed to the outputs, those about losses and repeats included.
  std::uint64_t dropped[5] = {};      ///< Lines lost for want of room, by level.
  std::uint64_t left_out = 0;         ///< Lines that a "repeated" line stands for.
  std::uint64_t output_failures = 0;  ///< Writes or flushes that an output refused or threw at.
  std::uint64_t masked = 0;           ///< Lines in which a secret was masked.
  std::uint64_t format_errors = 0;    ///< Lines whose format did not fit its arguments; they are shown as they came.
  std::uint64_t recursive = 0;        ///< Lines that outputs wrote to the logger that was calling them; not taken.
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
/// The method (a queue for each thread, a back end that orders and formats) is quill's. log() copies arguments, write()
/// a text that is there already.
///
/// Polled, there is no back end: who polls does its work. Nothing that poll() waits for is ever held by a writer, nor
/// the other way round.
///
/// Threads: any, for every function. In a fork's child the logger is off and nothing waits. An output that writes to
/// the logger which is calling it is not heard: that would never end.
class Logger final : public LogSink {
 public:
  static constexpr std::size_t longest_message = 16384;  ///< Bytes; the rest is cut off, and the line says how much.
  static constexpr std::size_t most_fields = 16;
  static constexpr std::size_t longest_format =
      8192;                                          ///< Of a format that comes at run time; longer ones are no format.
  static constexpr std::size_t most_arguments = 16;  ///< Of a format.

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

  /// A line whose text is made by the back end: what the caller pays is a copy of the arguments (numbers, truth values
  /// and texts). The format is fmt's, a literal, and checked by the compiler.
  template <class... Arguments>
  // NOLINTNEXTLINE(bugprone-exception-escape): see put.
  void log(LogLevel level, StaticText module, LogFormatText<std::type_identity_t<Arguments>...> format,
           const Arguments&... arguments) noexcept {
    static_assert(sizeof...(Arguments) <= most_arguments);
    if (!enabled(level)) return;
    const LogArgument kept[sizeof...(Arguments) + 1] = {detail::argument_of(arguments)..., LogArgument{}};
    put_arguments(level, module.text(), format.text(), {kept, sizeof...(Arguments)});
  }
  /// The same for a format that comes at run time and is copied. One that does not fit its arguments is counted, and
  /// the line shows both as they came. Widths and precisions have at most four digits. At most most_arguments.
  // NOLINTNEXTLINE(bugprone-exception-escape): see put.
  void write_format(LogLevel level, std::string_view module, std::string_view format,
                    std::span<const LogArgument> arguments, const LogContext& context = {},
                    std::span<const LogField> fields = {}) noexcept {
    if (enabled(level)) put(level, module, format, context, fields, &arguments);
  }

  /// Shows the next line to `take`, which answers whether it was taken; else it stays. False: there is none, or the
  /// logger is not polled.
  bool poll(const std::function<bool(const PollOutput::Line&)>& take);
  /// Whether the calling thread is this logger's own, that is, inside an output of it.
  bool is_own_thread() const noexcept;

  /// Returns when every line written before by this thread, and what others had finished writing, is with the outputs
  /// and flushed there; at once where it is polled. Errors: timed_out; wrong_state after close, in a fork's child, or
  /// inside an output.
  Result<void> flush(std::int64_t timeout_us);
  /// Takes no more lines, hands on the rest and ends the thread; waits at most so long. Once it has returned no output
  /// is called any more, unless it timed out: then one that hangs is left behind. Errors: timed_out; wrong_state inside
  /// an output.
  Result<void> close(std::int64_t timeout_us);
  LoggerStatistics statistics() const;

 private:
  struct Core;
  struct Ring;
  struct Place;
  struct RingsOfThread;
  friend struct RingsOfThread;

  explicit Logger(std::shared_ptr<Core> core);
  // NOLINTNEXTLINE(bugprone-exception-escape): std::visit throws for a variant without a value; these always have one.
  void put(LogLevel level, std::string_view module, std::string_view message, const LogContext& context,
           std::span<const LogField> fields, const std::span<const LogArgument>* arguments = nullptr) noexcept;
  // `module` and `format` are static.
  void put_arguments(LogLevel level, std::string_view module, std::string_view format,
                     std::span<const LogArgument> arguments) noexcept;
  bool claim(std::size_t size, LogLevel level, Place& place) noexcept;
  void publish(const Place& place, LogLevel level) noexcept;
  Ring* ring_of_thread() noexcept;

  std::shared_ptr<Core> core_;  // Shared with the back end and, as rings, with threads that have written.
  std::atomic<std::uint32_t> level_;
};

}  // namespace gf::error
