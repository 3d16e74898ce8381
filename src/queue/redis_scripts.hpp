// The Lua scripts of the queue in Redis, and its keys.
#pragma once

#include "queue/queue.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gf::queue {

/// Of the keys' layout. A queue that a later version has written is refused.
inline constexpr int redis_schema_version = 1;

/// Every key of a queue, in the order in which every script gets them, or some of them. All have the queue's hash tag,
/// so that they lie in one slot of a cluster; none is built inside a script.
enum class RedisKey : std::size_t {
  meta,        ///< Hash: schema version, counters, totals, histograms.
  job,         ///< Hash: id -> record (see redis_scripts.cpp).
  body,        ///< Hash: id -> payload. Gone when the job is over, kept in the dead letters.
  fifo,        ///< Sorted by text: lane, user, NUL, sequence, since, id: every user's line in every lane.
  ring,        ///< lane+user -> lane and turn.
  age,         ///< lane+user -> lane and since when the head of the line waits; of users who may run.
  parked_age,  ///< The same of parked users.
  delayed,     ///< id -> time.
  leases,      ///< id -> end of the lease.
  active,      ///< id -> taken at. Who is here without a lease is an orphan.
  deadlines,   ///< id -> time.
  finished,    ///< id -> ended at.
  dead,        ///< id -> ended at.
  keys,        ///< Hash: idempotency key -> scope and holder.
  key_expiry,  ///< key -> time.
  users,       ///< Hash: user -> running jobs.
  parked,      ///< user -> until; infinite: until a job of theirs ends.
  rate,        ///< user -> when the start rate owes nothing.
  wake,        ///< List with at most one element while somebody should look: a hint.
  events,      ///< Stream, whose ids are the events' sequence.
};
inline constexpr std::size_t redis_key_count = 20;

std::array<std::string, redis_key_count> redis_keys(std::string_view name_space, std::string_view queue);

enum class RedisScript : std::size_t {
  open,
  enqueue,
  reserve,
  extend,
  progress,
  complete,
  fail,
  release,
  cancel,
  get,
  list,
  purge,
  requeue,
  requeue_many,
  pause,
  statistics,
  events,
  sweep,
  configure,
  // The usual case alone, which answer "again" for what is not, and have done nothing with it.
  plain_enqueue,
  plain_reserve,
  plain_complete,
};
inline constexpr std::size_t redis_script_count = 22;

/// What a script gets as its keys.
std::vector<RedisKey> keys_of(RedisScript script);
/// Whether a queue with these options may use the plain scripts: no limits of users, strict lanes, no age limit.
bool has_plain_scripts(const QueueOptions& options);

/// The source with the options as constants: a changed option is another script, and no call has to carry them.
struct RedisScriptContext {
  /// A Lua expression of microseconds since the epoch; empty: the server's TIME, the only one outside tests.
  std::string_view clock = {};
  /// The server is Redis 7 or later, where a script can say that it may run when memory is short: all that do not bring
  /// new jobs in do, so that what is in can be ended. On an older server they are refused then, as a whole.
  bool has_flags = false;
};
std::string redis_script(RedisScript script, const QueueOptions& options, const RedisScriptContext& context = {});

}  // namespace gf::queue
