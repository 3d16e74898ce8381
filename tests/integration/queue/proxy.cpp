#include "proxy.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace gf::test {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

}  // namespace

Proxy::Proxy(std::string listen_path, std::string server_path)
    : path_(std::move(listen_path)), server_path_(std::move(server_path)) {
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = address_of(path_);
  REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listener_, 16) == 0);
  thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy() {
  over_ = true;
  thread_.join();
  for (auto& connection : connections_) connection.join();
  ::close(listener_);
  ::unlink(path_.c_str());
}

void Proxy::run() {
  while (!over_) {
    pollfd watched{listener_, POLLIN, 0};
    if (::poll(&watched, 1, 10) <= 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) connections_.emplace_back([this, client] { pass(client); });
  }
}

void Proxy::pass(int client) {
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = address_of(server_path_);
  bool open = ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  std::array<char, 4096> bytes;
  while (open && !over_) {
    std::array<pollfd, 2> watched = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
    if (::poll(watched.data(), watched.size(), 10) <= 0) continue;
    for (const bool up : {true, false}) {
      if (!open || watched[up ? 0 : 1].revents == 0) continue;
      auto& left = up ? up_ : down_;
      const auto count = ::recv(up ? client : server, bytes.data(), bytes.size(), 0);
      if (count <= 0) {
        open = false;
        continue;
      }
      if (!up && !from_.empty()) {
        const std::string_view said(bytes.data(), static_cast<std::size_t>(count));
        if (const auto at = said.find(from_); at != std::string_view::npos) std::ranges::copy(to_, bytes.data() + at);
      }
      auto pass_on = static_cast<std::int64_t>(count);
      if (const auto limit = left.load(); limit >= 0) {
        if (pass_on > limit) {
          pass_on = limit;
          open = false;
          left = -1;
          ++cuts_;
        } else {
          left = limit - pass_on;
        }
      }
      if (pass_on > 0 &&
          ::send(up ? server : client, bytes.data(), static_cast<std::size_t>(pass_on), MSG_NOSIGNAL) < 0) {
        open = false;
      }
    }
  }
  ::close(server);
  ::close(client);
}

}  // namespace gf::test
