// Errors of many processes in one place: groups with counts, samples and times, and the newest ones one by one, in
// Redis.
#pragma once

#include "base/result.hpp"
#include "error/aggregator.hpp"
#include "error/batch_thread.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gf::error {

/// Of the keys' layout. Keys that another version has written are refused.
inline constexpr int error_store_schema = 1;

struct ErrorStoreOptions {
  std::string url;                            ///< As of redis::Url.
  std::string name_space = "gameforge";       ///< Who gives the same shares the store. No braces.
  std::string process = {};                   ///< Who we are, to 100 bytes; empty: host name and process number.
  std::uint32_t kept_errors = 10'000;         ///< Of the newest, one by one, about so many; 1 to 1,000,000.
  std::uint32_t group_limit = 4096;           ///< The groups seen least recently go, counted; 1 to 65536.
  std::int64_t kept_us = 604'800'000'000;     ///< A group that is not seen for so long goes; 1 min to 90 days.
  std::int64_t command_timeout_us = 500'000;  ///< Of a turn to the server; 10 ms to 60 s.
  BatchOptions batch = {.thread_name = "gf-errors"};
};

/// Errors are handed over by a copy, masked and grouped by a thread, and sent in batches, each of which is counted once
/// whatever becomes of the connection. While the server is gone they wait, as many as there is room for; then they are
/// lost, counted, and the loss is told to whoever reads.
///
/// Counts by window are kept by the minute for two hours, and by the hour for eight days, by the time at which they
/// arrived; when an error was first and last seen is by the time at which it happened. Both are the server's time: a
/// process tells how long ago something was, and not when.
///
/// Keys, in one slot: {NAME_SPACE:errors}:meta and :group:FINGERPRINT (hashes), :groups, :minute:N and :hour:N (sorted
/// sets), :tail (stream), :seen:PROCESS (string). Each expires.
///
/// Threads: any, for every function.
class ErrorStore final : public ErrorObserver {
 public:
  /// Connects to nothing yet. Errors: invalid_argument names the option; those of Url::parse; io_error.
  static Result<std::unique_ptr<ErrorStore>> open(const ErrorStoreOptions& options);
  ~ErrorStore() override;
  ErrorStore(const ErrorStore&) = delete;
  ErrorStore& operator=(const ErrorStore&) = delete;

  /// Hands an error over; waits for nothing. place: where it arose; nothing: what the error says. severity: none: its
  /// status's. False: it was lost.
  bool record(const Error& error, const ErrorTags& tags, std::optional<std::string_view> place = {},
              std::string_view module = {}, Severity severity = Severity::none) noexcept;
  /// A text of somebody else's that has no code; see ErrorAggregator.
  bool record_text(std::string_view module, std::string_view text, Severity severity, const ErrorTags& tags) noexcept;

  void observe(const Error& error, const ErrorTags& tags) noexcept override { (void)record(error, tags); }
  void observe_text(std::string_view module, std::string_view text, Severity severity,
                    const ErrorTags& tags) noexcept override {
    (void)record_text(module, text, severity, tags);
  }

  /// Returns when what was recorded before, and the number of those lost, is with the server. Errors: timed_out;
  /// wrong_state after close().
  Result<void> flush(std::int64_t timeout_us);
  /// Sends the rest, waiting at most so long, and ends the thread.
  void close(std::int64_t timeout_us);
  BatchStatistics statistics() const;

  // These ask the server. Errors: those of the Redis client; schema_too_new; wrong_state: the keys are somebody else's.

  /// The groups with most errors in the last window_us (1 s to 8 days), most first: {"window_us", "errors", "lost",
  /// "evicted_groups", "groups": [{"fingerprint", "status", "name", "severity", "title", "in_window", "total",
  /// "first_us", "last_us", "processes", "message"}]}. count: 1 to 1000.
  Result<std::string> top_json(std::int64_t window_us, std::uint32_t count);
  /// One group, with its newest error and who had how many. Errors: not_found.
  Result<std::string> show_json(std::uint64_t fingerprint);
  /// Errors one by one, behind the id `after` (empty: the newest `count`): {"errors": [{"id", ...}], "next": id}. Where
  /// there are none yet it waits for them, up to wait_us. count: 1 to 1000. Errors: invalid_argument for an id that is
  /// none.
  Result<std::string> tail_json(std::string_view after, std::uint32_t count, std::int64_t wait_us);

 private:
  struct Incoming;
  struct Core;
  explicit ErrorStore(std::shared_ptr<Core> core);
  bool put(Incoming&& incoming) noexcept;

  std::shared_ptr<Core> core_;  // Shared with the thread.
  std::unique_ptr<BatchThread<Incoming>> thread_;
};

}  // namespace gf::error
