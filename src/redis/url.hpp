// Where a Redis server is, and how to log in, as one URL.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace gf::redis {

/// redis://[[user]:password@]host[:port][/database] or unix://[[user]:password@]/path[?db=database].
/// User and password are percent-decoded. An IPv6 host stands in brackets.
struct Url {
  std::string host;  ///< Empty for a socket in the file system.
  std::uint16_t port = 6379;
  std::string path;
  std::string user;  ///< Empty: the server's default user.
  std::string password;
  std::uint32_t database = 0;

  /// Errors: invalid_argument, which never shows the password; unsupported for rediss:// (TLS).
  static Result<Url> parse(std::string_view text);
  /// For messages: without user and password.
  std::string shown() const;
};

}  // namespace gf::redis
