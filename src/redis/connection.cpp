#include "redis/connection.hpp"

#include "base/platform.hpp"
#include "base/platform_wait.hpp"
#include "redis/hiredis_guard.hpp"

#include <fmt/format.h>
#include <hiredis/read.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace gf::redis {
namespace {

// No reply that we ask for is near it; a hostile or confused server must not make us allocate without end.
constexpr int max_items = 4'000'000;

// A server on this machine answers within it, one across a network hardly ever. It is also the most that a call may
// burn in vain, and only while calls before it were that fast.
constexpr std::int64_t look_us = 100;
// What one slow call counts for: a blocking one must not hide for long that the others are fast.
constexpr std::int64_t longest_counted_us = 1'000;

/// The place that the reader fills next: an item of the array above, or a new reply.
Reply* place_of(const redisReadTask* task) noexcept {
  if (task->parent == nullptr) return new (std::nothrow) Reply;
  auto& items = static_cast<Reply*>(task->parent->obj)->items;
  return &items[static_cast<std::size_t>(task->idx)];
}

// hiredis is C, so that nothing may fly through it: NULL tells it that memory ran out.
void* create_string(const redisReadTask* task, char* text, std::size_t size) {
  auto* reply = place_of(task);
  if (reply == nullptr) return nullptr;
  reply->kind = task->type == REDIS_REPLY_ERROR    ? Reply::Kind::error
                : task->type == REDIS_REPLY_STATUS ? Reply::Kind::status
                                                   : Reply::Kind::text;
  try {
    reply->text.assign(text, size);
  } catch (...) {
    if (task->parent == nullptr) delete reply;
    return nullptr;
  }
  return reply;
}

void* create_array(const redisReadTask* task, int count) {
  if (count > max_items) return nullptr;
  auto* reply = place_of(task);
  if (reply == nullptr) return nullptr;
  reply->kind = Reply::Kind::array;
  try {
    reply->items.resize(static_cast<std::size_t>(std::max(count, 0)));
  } catch (...) {
    if (task->parent == nullptr) delete reply;
    return nullptr;
  }
  return reply;
}

void* create_integer(const redisReadTask* task, long long value) {
  auto* reply = place_of(task);
  if (reply == nullptr) return nullptr;
  reply->kind = Reply::Kind::integer;
  reply->integer = value;
  return reply;
}

void* create_nil(const redisReadTask* task) { return place_of(task); }

void free_reply(void* reply) { delete static_cast<Reply*>(reply); }

redisReplyObjectFunctions reply_functions = {create_string, create_array, create_integer, create_nil, free_reply};

Error network(const std::string& server, std::string_view what, int error_number) {
  return Error{
      Status::network_error,
      fmt::format("{}: {}: {}", server, what, std::error_code(error_number, std::generic_category()).message()),
      {}};
}

Error late(const std::string& server) {
  return Error{Status::timed_out, fmt::format("{} did not answer in time", server), {}};
}

struct Socket {
  int descriptor = -1;
  ~Socket() {
    if (descriptor >= 0) ::close(descriptor);
  }
  int release() { return std::exchange(descriptor, -1); }
};

/// Until one of the events, the deadline or the interrupt.
Result<void> wait_for(int descriptor, short events, const Interrupt& interrupt, std::int64_t deadline_us,
                      const std::string& server) {
  std::array<pollfd, 2> watched = {pollfd{descriptor, events, 0}, pollfd{interrupt.descriptor(), POLLIN, 0}};
  for (;;) {
    const auto left_us = deadline_us - Connection::now_us();
    // Rounded up: rounded down it would ask again and again in the last millisecond.
    const auto left_ms = static_cast<int>(std::clamp<std::int64_t>((left_us + 999) / 1000, 0, 3'600'000));
    const int ready = ::poll(watched.data(), watched.size(), left_ms);
    if (ready < 0 && errno != EINTR) return network(server, "poll", errno);
    if (watched[1].revents != 0) return Error{Status::shutting_down, "the client is closed", {}};
    if (ready > 0 && watched[0].revents != 0) return success();
    if (Connection::now_us() >= deadline_us) return late(server);
  }
}

Result<int> connect_to(const sockaddr* address, socklen_t size, int family, const Interrupt& interrupt,
                       std::int64_t deadline_us, const std::string& server) {
  Socket socket{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (socket.descriptor < 0) return network(server, "socket", errno);
  if (::connect(socket.descriptor, address, size) != 0) {
    if (errno != EINPROGRESS) return network(server, "connect", errno);
    GF_TRYV(wait_for(socket.descriptor, POLLOUT, interrupt, deadline_us, server));
    int error = 0;
    socklen_t error_size = sizeof error;
    if (::getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) error = errno;
    if (error != 0) return network(server, "connect", error);
  }
  if (family != AF_UNIX) {
    const int yes = 1;
    // Commands are small and each waits for its answer.
    (void)::setsockopt(socket.descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)::setsockopt(socket.descriptor, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
  }
  return socket.release();
}

Result<int> connect_to(const Url& url, const Interrupt& interrupt, std::int64_t deadline_us,
                       const std::string& server) {
  if (!url.path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (url.path.size() >= sizeof address.sun_path) {
      return Error{Status::invalid_argument, fmt::format("the path of {} is too long for a socket", server), {}};
    }
    std::copy(url.path.begin(), url.path.end(), address.sun_path);
    return connect_to(reinterpret_cast<const sockaddr*>(&address), sizeof address, AF_UNIX, interrupt, deadline_us,
                      server);
  }
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const auto port = fmt::format("{}", url.port);
  if (const int failed = ::getaddrinfo(url.host.c_str(), port.c_str(), &wanted, &found); failed != 0) {
    return Error{Status::network_error, fmt::format("{}: {}", server, ::gai_strerror(failed)), {}};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  Result<int> last = Error{Status::network_error, fmt::format("{} has no address", server), {}};
  for (const auto* address = found; address != nullptr; address = address->ai_next) {
    last = connect_to(address->ai_addr, address->ai_addrlen, address->ai_family, interrupt, deadline_us, server);
    if (last || last.error().status == Status::shutting_down) break;
  }
  return last;
}

}  // namespace

Result<std::shared_ptr<Interrupt>> Interrupt::create() {
  const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor < 0) {
    return Error{
        Status::io_error, fmt::format("eventfd: {}", std::error_code(errno, std::generic_category()).message()), {}};
  }
  return std::shared_ptr<Interrupt>(new Interrupt(descriptor));
}

Interrupt::Interrupt(int descriptor) : descriptor_(descriptor), own_process_(process_number()) {}

Interrupt::~Interrupt() { ::close(descriptor_); }

void Interrupt::raise() noexcept {
  if (process_number() != own_process_) return;
  const std::uint64_t one = 1;
  // It can only fail where it is raised 2^64 times, and then it is raised.
  [[maybe_unused]] const auto written = ::write(descriptor_, &one, sizeof one);
}

std::int64_t Connection::now_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Connection::ReaderCloser::operator()(redisReader* reader) const { redisReaderFree(reader); }

Connection::Connection(int descriptor, std::string server, std::shared_ptr<Interrupt> interrupt)
    : descriptor_(descriptor),
      server_(std::move(server)),
      interrupt_(std::move(interrupt)),
      reader_(redisReaderCreateWithFunctions(&reply_functions)) {}

Connection::~Connection() { ::close(descriptor_); }

Result<std::unique_ptr<Connection>> Connection::open(const Url& url, std::shared_ptr<Interrupt> interrupt,
                                                     std::int64_t deadline_us) {
  const auto server = url.shown();
  GF_TRY(const int descriptor, connect_to(url, *interrupt, deadline_us, server));
  Socket socket{descriptor};  // Until the connection has it.
  std::unique_ptr<Connection> connection(new Connection(descriptor, server, std::move(interrupt)));
  socket.release();
  if (!connection->reader_) return Error{Status::out_of_host_memory, "out of memory", {}};
  std::vector<Command> login;
  if (!url.password.empty()) {
    login.push_back(url.user.empty() ? Command{"AUTH", url.password} : Command{"AUTH", url.user, url.password});
  }
  if (url.database != 0) login.push_back({"SELECT", fmt::format("{}", url.database)});
  if (!login.empty()) {
    GF_TRY(const auto replies, connection->call(login, deadline_us));
    for (const auto& reply : replies) {
      if (reply.is_error()) return to_error(reply.text, server);
    }
  }
  return connection;
}

Result<void> Connection::wait(short events, std::int64_t deadline_us) {
  return wait_for(descriptor_, events, *interrupt_, deadline_us, server_);
}

bool Connection::is_stale() const noexcept {
  pollfd watched{descriptor_, POLLIN, 0};
  return ::poll(&watched, 1, 0) != 0;
}

Result<void> Connection::wait_for_answer(std::int64_t deadline_us) {
  // Where there is one processor the server could not answer while we look.
  static const bool may_look = usable_cores() > 1;
  const auto from_us = now_us();
  bool here = false;
  if (may_look && usual_wait_us_ <= look_us) {
    char first = 0;
    do {
      const auto count = ::recv(descriptor_, &first, 1, MSG_PEEK);
      here = count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    } while (!here && now_us() < from_us + look_us);
  }
  if (!here) {
    GF_TRYV(wait(POLLIN, deadline_us));
  }
  usual_wait_us_ += (std::min(now_us() - from_us, longest_counted_us) - usual_wait_us_) / 4;
  return success();
}

Result<std::vector<Reply>> Connection::call(std::span<const Command> commands, std::int64_t deadline_us, bool* sent) {
  if (sent != nullptr) *sent = false;
  std::string out;
  for (const auto& command : commands) append_command(out, command);
  std::vector<Reply> replies;
  replies.reserve(commands.size());
  std::size_t written = 0;
  std::array<char, 16384> in;
  while (replies.size() < commands.size()) {
    // Both ways at a time: a server that has answers to write reads no more of what we send.
    if (written < out.size()) {
      const auto count = ::send(descriptor_, out.data() + written, out.size() - written, MSG_NOSIGNAL);
      if (count > 0) {
        written += static_cast<std::size_t>(count);
        if (sent != nullptr) *sent = true;
      } else if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        return network(server_, "send", errno);
      }
    }
    // When all is sent the answer is still to come: to wait first saves a call that finds nothing.
    if (written == out.size()) {
      GF_TRYV(replies.empty() ? wait_for_answer(deadline_us) : wait(POLLIN, deadline_us));
    }
    const auto count = ::recv(descriptor_, in.data(), in.size(), 0);
    if (count == 0) return Error{Status::network_error, fmt::format("{} closed the connection", server_), {}};
    if (count < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return network(server_, "recv", errno);
      GF_TRYV(wait(static_cast<short>(POLLIN | (written < out.size() ? POLLOUT : 0)), deadline_us));
      continue;
    }
    try {
      if (redisReaderFeed(reader_.get(), in.data(), static_cast<std::size_t>(count)) != 0) {
        return Error{Status::redis_error, fmt::format("{}: {}", server_, reader_->errstr), {}};
      }
      for (;;) {
        void* object = nullptr;
        if (redisReaderGetReply(reader_.get(), &object) != 0) {
          return Error{Status::redis_error, fmt::format("{} sent what is no reply: {}", server_, reader_->errstr), {}};
        }
        if (object == nullptr) break;
        const std::unique_ptr<Reply> reply(static_cast<Reply*>(object));
        if (replies.size() == commands.size()) {
          return Error{Status::redis_error, fmt::format("{} sent more replies than were asked for", server_), {}};
        }
        replies.push_back(std::move(*reply));
      }
    } catch (const ReaderGaveUp& gave_up) {
      return Error{Status::internal, fmt::format("{}: {}", server_, gave_up.what()), {}};
    }
  }
  return replies;
}

void append_command(std::string& out, const Command& command) {
  const auto head = [&](char kind, std::size_t count) {
    const fmt::format_int digits(count);
    out += kind;
    out.append(digits.data(), digits.size());
    out += "\r\n";
  };
  std::size_t bytes = 0;
  for (const auto& word : command) bytes += word.size() + 16;
  // At least twice what there was: reserve() may give exactly what it is asked for.
  if (out.capacity() < out.size() + bytes) out.reserve(std::max(out.size() + bytes, out.capacity() * 2));
  head('*', command.size());
  for (const auto& word : command) {
    head('$', word.size());
    out += word;
    out += "\r\n";
  }
}

}  // namespace gf::redis
