#include "redis/url.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

namespace gf::redis {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    unsigned value = 0;
    if (at + 2 >= text.size()) return std::nullopt;
    const auto* digits = text.data() + at + 1;
    const auto [end, error] = std::from_chars(digits, digits + 2, value, 16);
    if (error != std::errc() || end != digits + 2) return std::nullopt;
    out += static_cast<char>(static_cast<unsigned char>(value));
    at += 2;
  }
  return out;
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  Url url;
  auto rest = text;
  const auto scheme = rest.substr(0, rest.find("://"));
  if (scheme == "rediss") {
    return Error{Status::unsupported, "rediss:// asks for TLS, which is not supported; use a tunnel", {}};
  }
  if ((scheme != "redis" && scheme != "unix") || scheme.size() == rest.size()) {
    // Only the scheme is shown: what follows may hold a password.
    return invalid(
        fmt::format("a Redis URL begins with redis:// or unix://, and not with {}", gf::shown(scheme.substr(0, 20))));
  }
  rest.remove_prefix(scheme.size() + 3);
  const auto authority_end = rest.find('/');
  if (const auto at = rest.substr(0, authority_end).rfind('@'); at != std::string_view::npos) {
    const auto login = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    const auto colon = login.find(':');
    auto user = decoded(login.substr(0, colon));
    auto password = colon == std::string_view::npos ? std::string() : decoded(login.substr(colon + 1));
    if (!user || !password) return invalid("the user or password of the Redis URL has a % that is no percent-encoding");
    url.user = std::move(*user);
    url.password = std::move(*password);
    if (!url.user.empty() && url.password.empty()) return invalid("the Redis URL names a user, but no password");
  }
  if (scheme == "unix") {
    const auto query = rest.find('?');
    url.path = std::string(rest.substr(0, query));
    if (!url.path.starts_with('/')) return invalid("a unix:// URL names an absolute path");
    if (url.path.size() > 107) return invalid("the path of a socket has at most 107 bytes");
    if (query != std::string_view::npos) {
      const auto asked = rest.substr(query + 1);
      const auto database = asked.starts_with("db=") ? number_of<std::uint32_t>(asked.substr(3)) : std::nullopt;
      if (!database) return invalid("after the path of a unix:// URL only ?db=NUMBER may stand");
      url.database = *database;
    }
    return url;
  }
  const auto slash = rest.find('/');
  auto place = rest.substr(0, slash);
  if (slash != std::string_view::npos && slash + 1 < rest.size()) {
    const auto database = number_of<std::uint32_t>(rest.substr(slash + 1));
    if (!database) return invalid("the path of a redis:// URL is the number of a database");
    url.database = *database;
  }
  if (place.starts_with('[')) {
    const auto close = place.find(']');
    if (close == std::string_view::npos) return invalid("the Redis URL's host has no closing bracket");
    url.host = std::string(place.substr(1, close - 1));
    place.remove_prefix(close + 1);
  } else {
    url.host = std::string(place.substr(0, place.find(':')));
    place.remove_prefix(url.host.size());
  }
  if (url.host.empty()) return invalid("the Redis URL names no host");
  if (!place.empty()) {
    const auto port = place.front() == ':' ? number_of<std::uint16_t>(place.substr(1)) : std::nullopt;
    if (!port || *port == 0) return invalid("the Redis URL's port is none");
    url.port = *port;
  }
  return url;
}

std::string Url::shown() const {
  if (!path.empty()) return fmt::format("unix://{}", path);
  return host.find(':') == std::string::npos ? fmt::format("redis://{}:{}", host, port)
                                             : fmt::format("redis://[{}]:{}", host, port);
}

}  // namespace gf::redis
