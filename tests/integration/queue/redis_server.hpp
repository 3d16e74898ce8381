// A Redis server of the tests' own: in a folder of its own, on a socket of its own, stopped by its process id.
#pragma once

#include "../../support/files.hpp"

#include "redis/client.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

namespace gf::test {

class RedisServer {
 public:
  struct Options {
    bool appendfsync_always = false;   ///< Else nothing is kept on disk.
    std::uint16_t port = 0;            ///< 0: a socket in the folder alone.
    std::vector<std::string> further;  ///< Arguments.
  };

  RedisServer() : RedisServer(Options()) {}
  explicit RedisServer(Options options);
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string url() const;
  const std::string& socket_path() const { return socket_; }
  const std::string& folder() const { return folder_.path(); }
  std::uint16_t port() const { return options_.port; }
  void start();
  void stop();    ///< Asks it to end, and waits.
  void kill();    ///< SIGKILL, and waits.
  void freeze();  ///< SIGSTOP
  void thaw();    ///< SIGCONT

 private:
  Options options_;
  TemporaryFolder folder_;
  std::string socket_;
  pid_t pid_ = -1;
};

/// Three such servers on the loopback address that are a cluster: each has a third of the slots.
class RedisCluster {
 public:
  static constexpr std::size_t size = 3;

  /// Waits until every node knows that it is whole.
  RedisCluster();
  const RedisServer& node(std::size_t at) const { return *nodes_[at]; }
  /// To that node, from which redirects are followed: for what concerns the node, take a command without a key.
  redis::Client& client(std::size_t at) { return *clients_[at]; }
  /// Whose slot it was at the beginning.
  static std::size_t owner_of(std::int64_t slot) { return static_cast<std::size_t>(slot) / 5462; }

 private:
  std::vector<std::unique_ptr<RedisServer>> nodes_;
  std::vector<std::unique_ptr<redis::Client>> clients_;
};

/// A port on the loopback address that nobody uses now.
std::uint16_t free_port();

}  // namespace gf::test
