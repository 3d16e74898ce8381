// What a Redis server answers.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gf::redis {

struct Reply {
  enum class Kind { nil, integer, status, text, error, array };
  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text;  ///< Of a status, a text or an error.
  std::vector<Reply> items;

  bool is_nil() const { return kind == Kind::nil; }
  bool is_error() const { return kind == Kind::error; }
  bool is_text() const { return kind == Kind::text || kind == Kind::status; }
  /// The number that an integer is, or that a text spells; `otherwise` for all else.
  std::int64_t number(std::int64_t otherwise = 0) const;
};

/// What an error reply means for a client. Scripts wrap the errors of the commands that they call, so the word is
/// looked for in the whole text.
enum class ReplyError {
  other,
  moved,  ///< The slot is another node's.
  ask,    ///< The slot is on its way to another node.
  no_script,
  read_only,  ///< A replica: the primary is elsewhere by now.
  loading,    ///< The server reads its data.
  master_down,
  cluster_down,
  try_again,
  out_of_memory,
  no_auth,  ///< Password missing or wrong, or a right that the user lacks.
  cross_slot,
  busy,           ///< A script runs for too long.
  misconfigured,  ///< The server cannot write its disk, and refuses writes.
  too_few_replicas,
};
ReplyError classify(std::string_view error_text);

/// As a status of ours, with the server's words.
Error to_error(std::string_view error_text, std::string_view server);

}  // namespace gf::redis
