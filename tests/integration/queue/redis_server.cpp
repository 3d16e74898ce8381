#include "redis_server.hpp"

#include "../../support/child.hpp"
#include "redis/client.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gf::test {

RedisServer::RedisServer(Options options) : options_(std::move(options)), socket_(folder_ / "socket") { start(); }

RedisServer::~RedisServer() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

std::string RedisServer::url() const {
  return options_.port == 0 ? "unix://" + socket_ : "redis://127.0.0.1:" + std::to_string(options_.port);
}

void RedisServer::start() {
  REQUIRE(pid_ < 0);
  const auto* program = std::getenv("GAMEFORGE_REDIS_SERVER");
  std::vector<std::string> words = {program != nullptr ? program : "redis-server",
                                    "--port",
                                    std::to_string(options_.port),
                                    "--unixsocket",
                                    socket_,
                                    "--bind",
                                    "127.0.0.1",
                                    "--dir",
                                    folder(),
                                    "--daemonize",
                                    "no",
                                    "--save",
                                    "",
                                    "--logfile",
                                    folder_ / "log"};
  if (options_.appendfsync_always) {
    for (const auto* word : {"--appendonly", "yes", "--appendfsync", "always"}) words.emplace_back(word);
  }
  words.insert(words.end(), options_.further.begin(), options_.further.end());
  pid_ = start_child(std::move(words));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  auto client = redis::Client::create("unix://" + socket_).value();
  for (;;) {
    const auto answer = client->call({"PING"});
    // With a password it refuses, and is there.
    if (answer || answer.error().status == Status::unauthorised) return;
    if (std::chrono::steady_clock::now() > deadline) FAIL("redis-server does not answer: " << answer.error().message);
    int state = 0;
    if (::waitpid(pid_, &state, WNOHANG) == pid_) FAIL("redis-server ended at its start");
  }
}

void RedisServer::stop() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::kill() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::freeze() { ::kill(pid_, SIGSTOP); }
void RedisServer::thaw() { ::kill(pid_, SIGCONT); }

namespace {

bool is_free(std::uint16_t port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool bound = ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(descriptor);
  return bound;
}

/// A node's bus has the port plus 10000; before Redis 7 it cannot be told another.
std::uint16_t free_port_of_node() {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const auto port = free_port();
    if (port <= 55535 && is_free(static_cast<std::uint16_t>(port + 10000))) return port;
  }
  FAIL("no port is free together with the one 10000 above it");
  return 0;
}

}  // namespace

RedisCluster::RedisCluster() {
  for (std::size_t index = 0; index < size; ++index) {
    RedisServer::Options wanted;
    wanted.port = free_port_of_node();
    wanted.further = {"--cluster-enabled", "yes", "--cluster-node-timeout", "3000"};
    nodes_.push_back(std::make_unique<RedisServer>(wanted));
    clients_.push_back(redis::Client::create(nodes_.back()->url()).value());
  }
  for (std::size_t index = 0; index < size; ++index) {
    const auto first = index * 5462;
    const auto last = std::min<std::size_t>(first + 5461, 16383);
    redis::Command add = {"CLUSTER", "ADDSLOTS"};
    for (auto slot = first; slot <= last; ++slot) add.push_back(std::to_string(slot));
    REQUIRE(clients_[index]->call(add).has_value());
  }
  for (std::size_t index = 1; index < size; ++index) {
    REQUIRE(clients_[0]->call({"CLUSTER", "MEET", "127.0.0.1", std::to_string(nodes_[index]->port())}).has_value());
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (const auto& client : clients_) {
    for (;;) {
      const auto info = client->call({"CLUSTER", "INFO"}).value().text;
      if (info.find("cluster_state:ok") != std::string::npos && info.find("cluster_known_nodes:3") != std::string::npos)
        break;
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

std::uint16_t free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(descriptor);
  return ntohs(address.sin_port);
}

}  // namespace gf::test
