// A Redis server of the tests' own: in a folder of its own, on a socket of its own, stopped by its process id.
#pragma once

#include "../../support/files.hpp"

#include <cstdint>
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

/// A port on the loopback address that nobody uses now.
std::uint16_t free_port();

}  // namespace gf::test
