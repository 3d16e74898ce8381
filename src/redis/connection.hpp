// One connection to a Redis server: bytes out, replies in, never beyond a deadline.
#pragma once

#include "base/result.hpp"
#include "redis/reply.hpp"
#include "redis/url.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace gf::redis {

using Command = std::vector<std::string>;

/// Wakes whatever waits in connections that share it. Threads: any.
class Interrupt {
 public:
  /// Errors: io_error.
  static Result<std::shared_ptr<Interrupt>> create();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  /// From now on every wait ends at once, with shutting_down. Without effect in a fork's child, whose parent waits for
  /// the same.
  void raise() noexcept;
  int descriptor() const { return descriptor_; }

 private:
  explicit Interrupt(int descriptor);
  int descriptor_;
  std::int64_t own_process_;
};

/// Written by plain non-blocking sockets with MSG_NOSIGNAL, as hiredis' own writes raise SIGPIPE in the host; read by
/// hiredis' reader. A call that fails on the way leaves the connection broken.
///
/// Threads: not synchronised; one at a time.
class Connection {
 public:
  /// The machine's monotonic time in microseconds, which deadlines are given in.
  static std::int64_t now_us() noexcept;

  /// Connects and logs in. A host name is looked up by the system's resolver, which keeps no deadline of ours.
  /// Errors: network_error, timed_out, unauthorised, redis_error, shutting_down; each names the server.
  static Result<std::unique_ptr<Connection>> open(const Url& url, std::shared_ptr<Interrupt> interrupt,
                                                  std::int64_t deadline_us);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends all and reads a reply to each. Error replies are replies.
  /// sent: receives whether anything may have reached the server, also when the call fails.
  /// Errors: network_error, timed_out, redis_error (what comes is no reply), shutting_down.
  Result<std::vector<Reply>> call(std::span<const Command> commands, std::int64_t deadline_us, bool* sent = nullptr);

  /// Whether the server has closed it, or sent what nobody asked for: then it is of no use any more.
  bool is_stale() const noexcept;
  const std::string& server() const { return server_; }

 private:
  struct ReaderCloser {
    void operator()(redisReader* reader) const;
  };

  Connection(int descriptor, std::string server, std::shared_ptr<Interrupt> interrupt);

  Result<void> wait(short events, std::int64_t deadline_us);

  /// Until there is something to read: looks for as long as a server on this machine takes, and
  /// sleeps only then. To be put to sleep and woken again costs more than half of such a call.
  Result<void> wait_for_answer(std::int64_t deadline_us);

  int descriptor_;
  std::int64_t usual_wait_us_ = 0;  // For the first bytes of an answer, as the last calls had it.
  std::string server_;
  std::shared_ptr<Interrupt> interrupt_;
  std::unique_ptr<redisReader, ReaderCloser> reader_;
};

/// The command as the protocol writes it (RESP2, an array of bulk strings).
void append_command(std::string& out, const Command& command);

}  // namespace gf::redis
