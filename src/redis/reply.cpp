#include "redis/reply.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

namespace gf::redis {

std::int64_t Reply::number(std::int64_t otherwise) const {
  if (kind == Kind::integer) return integer;
  std::int64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return is_text() && error == std::errc() && at == end ? value : otherwise;
}

ReplyError classify(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, ReplyError>, 17> words = {{
      {"MOVED", ReplyError::moved},
      {"ASK", ReplyError::ask},
      {"NOSCRIPT", ReplyError::no_script},
      {"READONLY", ReplyError::read_only},
      {"LOADING", ReplyError::loading},
      {"MASTERDOWN", ReplyError::master_down},
      {"CLUSTERDOWN", ReplyError::cluster_down},
      {"TRYAGAIN", ReplyError::try_again},
      {"OOM", ReplyError::out_of_memory},
      {"NOAUTH", ReplyError::no_auth},
      {"WRONGPASS", ReplyError::no_auth},
      {"NOPERM", ReplyError::no_auth},
      {"CROSSSLOT", ReplyError::cross_slot},
      {"BUSY", ReplyError::busy},
      {"MISCONF", ReplyError::misconfigured},
      {"NOREPLICAS", ReplyError::too_few_replicas},
      {"UNBLOCKED", ReplyError::read_only},  // What a blocked client hears when its server becomes a replica.
  }};
  for (const auto& [word, meaning] : words) {
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
      // As a word of its own: at the start, or after what a script's error puts before it.
      const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == '-';
      const auto end = at + word.size();
      const bool ends = end == text.size() || text[end] == ' ';
      if (begins && ends) return meaning;
    }
  }
  if (text.starts_with("ERR AUTH") || text.starts_with("ERR invalid password")) return ReplyError::no_auth;
  return ReplyError::other;
}

Error to_error(std::string_view text, std::string_view server) {
  const auto say = [&](Status status, std::string_view what) {
    return Error{status, fmt::format("{} {}: {}", server, what, shown(text)), {}};
  };
  switch (classify(text)) {
    case ReplyError::out_of_memory:
      return say(Status::queue_full, "is out of memory");
    case ReplyError::no_auth:
      return say(Status::unauthorised, "refuses the login or the command");
    case ReplyError::read_only:
      return say(Status::redis_error, "is a read-only replica");
    case ReplyError::loading:
      return say(Status::redis_error, "is loading its data");
    case ReplyError::misconfigured:
      return say(Status::redis_error, "cannot write its disk");
    default:
      return say(Status::redis_error, "answers");
  }
}

}  // namespace gf::redis
