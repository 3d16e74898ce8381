#include "redis/client.hpp"

#include "base/backoff.hpp"
#include "base/ids.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include <poll.h>

namespace gf::redis {
namespace {

constexpr int max_redirects = 8;

/// The node that "MOVED 3999 127.0.0.1:6381" names, with the login of `from`. A node without a host is the same one's
/// (Redis Cluster specification, "MOVED Redirection").
std::optional<Url> target_of(std::string_view text, std::string_view word, const Url& from) {
  auto at = text.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  at = text.find(' ', at + word.size() + 1);
  if (at == std::string_view::npos) return std::nullopt;
  auto place = text.substr(at + 1);
  place = place.substr(0, place.find_first_of(" \r\n"));
  const auto colon = place.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto url = from;
  const auto digits = place.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
  if (error != std::errc() || end != digits.data() + digits.size() || url.port == 0) return std::nullopt;
  if (colon != 0) url.host = std::string(place.substr(0, colon));
  url.path.clear();
  return url;
}

bool may_pass(ReplyError error) {
  return error == ReplyError::loading || error == ReplyError::master_down || error == ReplyError::cluster_down ||
         error == ReplyError::try_again || error == ReplyError::busy;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::create(std::string_view url, const ClientOptions& options) {
  GF_TRY(auto seed, Url::parse(url));
  GF_TRY(auto interrupt, Interrupt::create());
  return std::unique_ptr<Client>(new Client(std::move(seed), options, std::move(interrupt)));
}

Client::Client(Url seed, const ClientOptions& options, std::shared_ptr<Interrupt> interrupt)
    : seed_(std::move(seed)), options_(options), interrupt_(std::move(interrupt)), current_(seed_) {}

Client::~Client() = default;

void Client::close() {
  closed_ = true;
  interrupt_->raise();
  const std::lock_guard lock(mutex_);
  idle_.clear();
}

void Client::move_to(Url url) {
  const std::lock_guard lock(mutex_);
  if (current_.host == url.host && current_.port == url.port && current_.path == url.path) return;
  current_ = std::move(url);
  ++generation_;
  idle_.clear();
}

Result<Client::Borrowed> Client::borrow(std::int64_t deadline_us) {
  Url url;
  Borrowed borrowed;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return Error{Status::shutting_down, "the client is closed", {}};
    while (!idle_.empty()) {
      auto candidate = std::move(idle_.back());
      idle_.pop_back();
      // A server that was restarted in between has closed it.
      if (!candidate.connection->is_stale()) return candidate;
    }
    url = current_;
    borrowed.generation = generation_;
  }
  const auto until_us = std::min(deadline_us, Connection::now_us() + options_.connect_timeout_us);
  auto opened = Connection::open(url, interrupt_, until_us);
  if (!opened) {
    // A node of a cluster may be gone for good; whoever answers at the URL's address knows where its slots are.
    if (opened.error().status != Status::shutting_down) move_to(seed_);
    return std::move(opened).as_failure();
  }
  borrowed.connection = std::move(opened).value();
  connections_made_.fetch_add(1, std::memory_order_relaxed);
  return borrowed;
}

void Client::give_back(Borrowed borrowed) {
  const std::lock_guard lock(mutex_);
  if (closed_ || borrowed.generation != generation_ || idle_.size() >= options_.kept_connections) return;
  idle_.push_back(std::move(borrowed));
}

Result<void> Client::pause(std::uint32_t failures, std::int64_t deadline_us) {
  const auto bound_us = backoff_bound_us(options_.backoff_base_us, options_.backoff_cap_us, failures);
  // Full jitter, but never less than a quarter: a server that is down costs no more than this.
  const auto wait_us =
      bound_us / 4 + static_cast<std::int64_t>(random_bits() % static_cast<std::uint64_t>(bound_us * 3 / 4 + 1));
  const auto until_us = std::min(Connection::now_us() + wait_us, deadline_us);
  for (;;) {
    const auto left_us = until_us - Connection::now_us();
    if (left_us <= 0) return success();
    pollfd watched{interrupt_->descriptor(), POLLIN, 0};
    if (::poll(&watched, 1, static_cast<int>((left_us + 999) / 1000)) > 0) {
      return Error{Status::shutting_down, "the client is closed", {}};
    }
  }
}

Result<std::vector<Reply>> Client::exchange(std::span<const Command> commands, Repeat repeat,
                                            std::int64_t deadline_us) {
  std::vector<Reply> replies(commands.size());
  std::vector<std::size_t> open(commands.size());  // Which have no answer yet.
  for (std::size_t at = 0; at < open.size(); ++at) open[at] = at;
  std::uint32_t failures = 0;
  int redirects = 0;
  while (!open.empty()) {
    const auto again = [&](Error error) -> Result<void> {
      if (error.status == Status::shutting_down || error.status == Status::unauthorised) return error;
      if (Connection::now_us() >= deadline_us) return error;
      GF_TRYV(pause(++failures, deadline_us));
      if (Connection::now_us() >= deadline_us) return error;
      return success();
    };
    auto borrowed = borrow(deadline_us);
    if (!borrowed) {
      GF_TRYV(again(std::move(borrowed).error()));
      continue;
    }
    auto connection = std::move(borrowed).value();
    std::vector<Command> rest;
    if (open.size() < commands.size()) {
      for (const auto at : open) rest.push_back(commands[at]);
    }
    bool sent = false;
    auto answers = connection.connection->call(rest.empty() ? commands : rest, deadline_us, &sent);
    if (!answers) {
      if (sent && repeat == Repeat::no) return std::move(answers).as_failure();
      GF_TRYV(again(std::move(answers).error()));
      continue;
    }
    std::vector<std::size_t> still;
    std::optional<Url> moved;
    bool wait = false;
    bool drop = false;
    std::optional<Error> last;
    const auto server = connection.connection->server();
    for (std::size_t index = 0; index < open.size(); ++index) {
      auto& answer = answers.value()[index];
      const auto at = open[index];
      if (!answer.is_error()) {
        replies[at] = std::move(answer);
        continue;
      }
      const auto meaning = classify(answer.text);
      if (meaning == ReplyError::moved && redirects < max_redirects) {
        Url from;
        {
          const std::lock_guard lock(mutex_);
          from = current_;
        }
        if (auto target = target_of(answer.text, "MOVED", from)) {
          moved = std::move(target);
          still.push_back(at);
          continue;
        }
      }
      // As often as it takes: a node that still waits for some of the keys answers TRYAGAIN, until the deadline.
      if (meaning == ReplyError::ask && Connection::now_us() < deadline_us) {
        Url from;
        {
          const std::lock_guard lock(mutex_);
          from = current_;
        }
        if (const auto target = target_of(answer.text, "ASK", from)) {
          // Only this once: the slot's home stays where it is until it has moved.
          auto other = Connection::open(*target, interrupt_, deadline_us);
          if (other) {
            const std::vector<Command> both = {{"ASKING"}, commands[at]};
            auto told = other.value()->call(both, deadline_us, &sent);
            if (told) {
              replies[at] = std::move(told.value()[1]);
              const auto then = classify(replies[at].text);
              if (replies[at].is_error() && (then == ReplyError::moved || then == ReplyError::try_again)) {
                wait = true;
                still.push_back(at);
              }
              continue;
            }
            if (repeat == Repeat::no) return std::move(told).as_failure();
          }
          wait = true;
          still.push_back(at);
          continue;
        }
      }
      if (may_pass(meaning) && Connection::now_us() < deadline_us) {
        wait = true;
        last = to_error(answer.text, server);
        still.push_back(at);
        continue;
      }
      // A primary that became a replica: the next call has to find the new one, which may have the same name.
      if (meaning == ReplyError::read_only) drop = true;
      replies[at] = std::move(answer);
    }
    open = std::move(still);
    if (moved) {
      ++redirects;
      move_to(std::move(*moved));
    } else if (drop) {
      move_to(seed_);
    } else {
      give_back(std::move(connection));
    }
    if (wait && !open.empty()) {
      GF_TRYV(again(last ? std::move(*last) : Error{Status::redis_error, "the cluster is changing", {}}));
    }
  }
  return replies;
}

Result<Reply> Client::call(Command command, Repeat repeat, std::int64_t timeout_us) {
  const auto deadline_us = Connection::now_us() + (timeout_us == 0 ? options_.command_timeout_us : timeout_us);
  GF_TRY(auto replies, exchange(std::span(&command, 1), repeat, deadline_us));
  if (replies[0].is_error()) return to_error(replies[0].text, seed_.shown());
  return std::move(replies[0]);
}

Result<Command> Client::command_of(ScriptCall call, std::int64_t deadline_us) {
  auto sha = call.script->sha();
  if (sha.empty()) {
    const Command load = {"SCRIPT", "LOAD", call.script->source()};
    GF_TRY(const auto loaded, exchange(std::span(&load, 1), Repeat::safe, deadline_us));
    if (!loaded[0].is_text()) {
      return loaded[0].is_error() ? to_error(loaded[0].text, seed_.shown())
                                  : Error{Status::redis_error, "SCRIPT LOAD gave no hash", {}};
    }
    sha = loaded[0].text;
    call.script->set_sha(sha);
  }
  Command command;
  command.reserve(3 + call.keys.size() + call.arguments.size());
  command.push_back("EVALSHA");
  command.push_back(std::move(sha));
  command.push_back(fmt::format("{}", call.keys.size()));
  std::ranges::move(call.keys, std::back_inserter(command));
  std::ranges::move(call.arguments, std::back_inserter(command));
  return command;
}

Result<Reply> Client::run(ScriptCall call, Repeat repeat) {
  const auto deadline_us = Connection::now_us() + options_.command_timeout_us;
  Script* scripts[] = {call.script};
  std::vector<Command> command(1);
  GF_TRY(command[0], command_of(std::move(call), deadline_us));
  GF_TRY(auto replies, run_commands(scripts, std::move(command), repeat, deadline_us));
  return std::move(replies[0]);
}

Result<std::vector<Result<Reply>>> Client::run_many(std::span<const ScriptCall> calls, Repeat repeat) {
  const auto deadline_us = Connection::now_us() + options_.command_timeout_us;
  std::vector<Command> commands;
  std::vector<Script*> scripts;
  commands.reserve(calls.size());
  scripts.reserve(calls.size());
  for (const auto& call : calls) {
    GF_TRY(auto command, command_of(call, deadline_us));
    commands.push_back(std::move(command));
    scripts.push_back(call.script);
  }
  return run_commands(scripts, std::move(commands), repeat, deadline_us);
}

Result<std::vector<Result<Reply>>> Client::run_commands(std::span<Script* const> scripts, std::vector<Command> commands,
                                                        Repeat repeat, std::int64_t deadline_us) {
  GF_TRY(auto replies, exchange(commands, repeat, deadline_us));
  std::vector<Result<Reply>> out;
  out.reserve(replies.size());
  for (std::size_t at = 0; at < replies.size(); ++at) {
    // A server that was restarted, flushed, or is another one by now. NOSCRIPT means that nothing was done.
    if (replies[at].is_error() && classify(replies[at].text) == ReplyError::no_script) {
      commands[at][0] = "EVAL";
      commands[at][1] = scripts[at]->source();
      GF_TRY(auto again, exchange(std::span(&commands[at], 1), repeat, deadline_us));
      replies[at] = std::move(again[0]);
    }
    if (replies[at].is_error()) {
      out.emplace_back(to_error(replies[at].text, seed_.shown()));
    } else {
      out.emplace_back(std::move(replies[at]));
    }
  }
  return out;
}

Result<ServerInfo> Client::server_info() {
  GF_TRY(const auto info, call({"INFO"}, Repeat::safe));
  ServerInfo out;
  const auto field = [&](std::string_view name) {
    const auto key = fmt::format("\n{}:", name);
    auto at = info.text.find(key);
    if (at == std::string::npos) return std::string();
    at += key.size();
    return info.text.substr(at, info.text.find_first_of("\r\n", at) - at);
  };
  out.version = field("redis_version");
  out.role = field("role");
  out.maxmemory_policy = field("maxmemory_policy");
  out.cluster = field("cluster_enabled") == "1";
  const auto bytes = field("maxmemory");
  (void)std::from_chars(bytes.data(), bytes.data() + bytes.size(), out.maxmemory_bytes);
  // A hosted server may refuse CONFIG: then nothing is known of its disk.
  const auto setting = [&](std::string_view name) -> std::string {
    const auto reply = call({"CONFIG", "GET", std::string(name)}, Repeat::safe);
    if (!reply || reply.value().items.size() != 2) return {};
    return reply.value().items[1].text;
  };
  out.appendonly = setting("appendonly");
  out.appendfsync = setting("appendfsync");
  out.save = setting("save");
  return out;
}

}  // namespace gf::redis
