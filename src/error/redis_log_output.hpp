// Log lines into a stream in Redis, where many processes' lines come together.
#pragma once

#include "error/batch_thread.hpp"
#include "error/log_output.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace gf::error {

struct RedisLogOutputOptions {
  std::string url;                            ///< As of redis::Url.
  std::string name_space = "gameforge";       ///< The stream is {NAME_SPACE:log}:lines. No braces.
  std::string process = {};                   ///< Who we are, to 100 bytes; empty: host name and process number.
  std::uint32_t kept_lines = 100'000;         ///< Of the newest, about so many; 1 to 10,000,000.
  std::int64_t kept_us = 604'800'000'000;     ///< After the last line the stream goes; 1 min to 90 days.
  std::int64_t command_timeout_us = 500'000;  ///< Of a turn to the server; 10 ms to 60 s.
  BatchOptions batch = {.thread_name = "gf-log-redis", .most_items = 8192, .most_bytes = 4u << 20};
};

/// Each line is an entry {process, line}, the line as append_json writes it. write() never waits: a thread of its own
/// sends them in batches, each of which is written once whatever becomes of the connection. Lines for which there is no
/// room while the server is gone are lost, counted, and told in a line of level warning where the gap is.
///
/// flush() hands over and does not wait either, so that a server that hangs does not hold up the other outputs; drain()
/// does. Threads: any for drain() and statistics(), besides the logger's.
class RedisLogOutput final : public LogOutput {
 public:
  /// Connects to nothing yet. Errors: invalid_argument names the option; those of Url::parse; io_error.
  static Result<std::unique_ptr<RedisLogOutput>> open(const RedisLogOutputOptions& options);
  ~RedisLogOutput() override;

  /// Errors: queue_full: the line is lost.
  Result<void> write(const LogRecord& record) override;
  /// Returns when what was written before is with the server. Errors: timed_out.
  Result<void> drain(std::int64_t timeout_us);
  /// Sends the rest, waiting at most so long, and ends the thread.
  void close(std::int64_t timeout_us);
  BatchStatistics statistics() const;

 private:
  struct Core;
  RedisLogOutput() = default;
  std::unique_ptr<BatchThread<std::string>> thread_;
};

}  // namespace gf::error
