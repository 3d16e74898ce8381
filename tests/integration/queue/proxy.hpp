// Between a client and a Redis server's socket: breaks connections after a number of bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gf::test {

/// Passes one connection at a time on, on a socket of its own. Threads: its own; the counts may be set from any.
class Proxy {
 public:
  Proxy(std::string listen_path, std::string server_path);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  /// The connection is cut once so many more bytes went to the server, or came from it; negative: never. Holds for the
  /// bytes from now on, once.
  void cut_after(std::int64_t bytes_up, std::int64_t bytes_down) {
    up_ = bytes_up;
    down_ = bytes_down;
  }
  /// From the next connection on: what the server says has `to` for `from`, which is as long and comes in one piece.
  void replace(std::string from, std::string to) {
    from_ = std::move(from);
    to_ = std::move(to);
  }
  std::uint64_t cuts() const { return cuts_; }
  const std::string& path() const { return path_; }

 private:
  void run();
  void pass(int client);

  std::string path_;
  std::string server_path_;
  std::string from_;  // As the next, set before a connection is made.
  std::string to_;
  int listener_ = -1;
  std::atomic<bool> over_{false};
  std::atomic<std::int64_t> up_{-1};
  std::atomic<std::int64_t> down_{-1};
  std::atomic<std::uint64_t> cuts_{0};
  std::vector<std::thread> connections_;  // The thread's own.
  std::thread thread_;
};

}  // namespace gf::test
