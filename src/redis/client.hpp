// redis: one client for Redis servers: reconnect, scripts, pipelining, cluster redirects. What is stored is for the
// rooms above to know. This header: the client.
#pragma once

#include "base/result.hpp"
#include "redis/connection.hpp"
#include "redis/reply.hpp"
#include "redis/url.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::redis {

struct ClientOptions {
  std::int64_t connect_timeout_us = 2'000'000;  ///< Of one try.
  std::int64_t command_timeout_us = 5'000'000;  ///< Of a call as a whole, with reconnecting and redirects.
  std::int64_t backoff_base_us = 10'000;        ///< Between tries to reach a server: full jitter, doubled each time.
  std::int64_t backoff_cap_us = 1'000'000;
  std::uint32_t kept_connections = 16;  ///< That nobody uses.
};

/// A Lua script. It is named by the hash that the server gives it at its first load.
/// Threads: any. Lives longer than every call with it.
class Script {
 public:
  explicit Script(std::string source) : source_(std::move(source)) {}
  const std::string& source() const { return source_; }

 private:
  friend class Client;
  std::string sha() const {
    const std::lock_guard lock(mutex_);
    return sha_;
  }
  void set_sha(std::string sha) {
    const std::lock_guard lock(mutex_);
    sha_ = std::move(sha);
  }

  const std::string source_;
  mutable std::mutex mutex_;
  std::string sha_;  // Guarded by mutex_.
};

struct ScriptCall {
  Script* script = nullptr;
  std::vector<std::string> keys;
  std::vector<std::string> arguments;
};

/// Whether a command may be sent again when the connection broke after it was sent, so that nobody knows whether it
/// was carried out.
enum class Repeat { no, safe };

/// What is known of a server, from INFO and CONFIG. Empty where it may not be asked.
struct ServerInfo {
  std::string version;
  std::string role;
  std::string maxmemory_policy;
  std::string appendonly;  ///< "yes" or "no".
  std::string appendfsync;
  std::string save;
  std::uint64_t maxmemory_bytes = 0;
  bool cluster = false;
};

/// Calls run on connections of a pool, one a call at a time; a blocked call has its own and holds up nobody. Every call
/// ends by its timeout. A server that cannot be reached, or is loading, is tried again until then, with a backoff;
/// MOVED and ASK are followed; a cluster's node that is gone is looked up anew at the URL's.
///
/// Threads: any.
class Client {
 public:
  /// Connects to nothing yet. Errors: those of Url::parse; io_error.
  static Result<std::unique_ptr<Client>> create(std::string_view url, const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Error replies become errors (see to_error). timeout_us: 0: the client's.
  /// Errors: network_error, timed_out, unauthorised, queue_full (out of memory), redis_error, shutting_down.
  Result<Reply> call(Command command, Repeat repeat = Repeat::no, std::int64_t timeout_us = 0);
  /// For commands that block on the server for `block_us`: two seconds more, then the socket is closed.
  Result<Reply> call_blocking(Command command, std::int64_t block_us) {
    return call(std::move(command), Repeat::safe, block_us + 2'000'000);
  }
  /// EVALSHA, with the source where the server does not know it.
  Result<Reply> run(ScriptCall call, Repeat repeat = Repeat::no);
  /// Several in one write. Replies stand in the order of the calls, and are errors each for itself.
  Result<std::vector<Result<Reply>>> run_many(std::span<const ScriptCall> calls, Repeat repeat = Repeat::no);

  Result<ServerInfo> server_info();
  /// Ends all calls that wait, and refuses what comes. Returns at once.
  void close();
  const Url& url() const { return seed_; }
  /// How often a connection was made, for tests and statistics.
  std::uint64_t connections_made() const { return connections_made_.load(std::memory_order_relaxed); }

 private:
  Client(Url seed, const ClientOptions& options, std::shared_ptr<Interrupt> interrupt);

  struct Borrowed {
    std::unique_ptr<Connection> connection;
    std::uint64_t generation = 0;
  };
  Result<Borrowed> borrow(std::int64_t deadline_us);
  void give_back(Borrowed borrowed);
  void move_to(Url url);
  Result<void> pause(std::uint32_t failures, std::int64_t deadline_us);
  /// Sends all commands until each has an answer that is no redirect.
  Result<std::vector<Reply>> exchange(std::span<const Command> commands, Repeat repeat, std::int64_t deadline_us);
  Result<Command> command_of(ScriptCall call, std::int64_t deadline_us);
  /// What command_of() made of calls of those scripts.
  Result<std::vector<Result<Reply>>> run_commands(std::span<Script* const> scripts, std::vector<Command> commands,
                                                  Repeat repeat, std::int64_t deadline_us);

  const Url seed_;
  const ClientOptions options_;
  const std::shared_ptr<Interrupt> interrupt_;
  std::atomic<bool> closed_{false};
  std::atomic<std::uint64_t> connections_made_{0};
  std::mutex mutex_;
  Url current_;                   // Guarded by mutex_, as the next.
  std::uint64_t generation_ = 0;  // Of current_: older connections are not kept.
  std::vector<Borrowed> idle_;
};

}  // namespace gf::redis
