#include "error/shared_breakers.hpp"

#include "base/backoff.hpp"
#include "base/ids.hpp"
#include "base/platform.hpp"
#include "base/platform_wait.hpp"
#include "error/redis_sharing.hpp"
#include "redis/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gf::error {
namespace {

using redis::Repeat;
using redis::Reply;

constexpr std::size_t most_members = 4096;
constexpr std::size_t most_ended = 64;
constexpr std::size_t calls_a_turn = 256;
// How long a grant may lie here before a call uses it. The lease on the server is longer by this, so that it ends after
// every call that it stands for.
constexpr std::int64_t grant_window_us = 1'000'000;
constexpr std::int64_t backoff_base_us = 100'000;
constexpr std::int64_t backoff_cap_us = 5'000'000;
constexpr std::int64_t longest_us = std::int64_t{7} * 24 * 3600 * 1'000'000;

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }
std::string text(std::uint64_t value) { return fmt::format("{}", value); }
std::int64_t ms_up(std::int64_t us) { return us / 1000 + (us % 1000 != 0 ? 1 : 0); }

// ---- Scripts --------------------------------------------------------------------------------------------------------

// KEYS: the breaker's hash, votes, probes; the stream. ARGV: a fresh epoch, this process, the breaker's name; then the
// script's own. Numbers become text by %d, as Lua's own conversion has 14 digits.
//
// The state's fields: epoch and generation; state, a BreakerState; `until`, the end of a break or of a forced state in
// ms of the server; probes that succeeded and failed in this generation. A forced state that is over is closed, one
// generation on.
constexpr std::string_view prelude = R"lua(
local call = redis.call
local function text(n) return string.format('%d', n) end
local STATE, VOTES, PROBES, CHANGES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for at, kind in ipairs({'hash', 'zset', 'zset', 'stream'}) do
  local found = KEYS[at] and call('TYPE', KEYS[at]).ok or 'none'
  if found ~= 'none' and found ~= kind then return {'foreign', KEYS[at], found} end
end
local h = call('HMGET', STATE, 'schema', 'epoch', 'generation', 'state', 'until', 'succeeded', 'failed')
if not h[1] and call('EXISTS', STATE) == 1 then return {'foreign', STATE, 'hash'} end
if h[1] and h[1] ~= '$SCHEMA' then return {'version', STATE, h[1]} end
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local DAY = 86400000
local epoch, generation, state, ends = h[2] or '', tonumber(h[3] or '0'), tonumber(h[4] or '0'), tonumber(h[5] or '0')
local succeeded, failed = tonumber(h[6] or '0'), tonumber(h[7] or '0')
if state >= 3 and now >= ends then state = 0; generation = generation + 1; ends = 0; succeeded = 0; failed = 0 end
local function answer(...)
  local left = 0
  if state ~= 0 then left = math.max(ends - now, 0) end
  return {'ok', epoch, text(generation), state, left, ...}
end
local function touch() call('PEXPIRE', STATE, math.max(ends - now, 0) + DAY) end
local function write(to, until_ms, reason, by)
  generation = generation + 1; state = to; ends = until_ms; succeeded = 0; failed = 0
  if epoch == '' then epoch = ARGV[1] end
  call('HSET', STATE, 'schema', '$SCHEMA', 'epoch', epoch, 'generation', text(generation), 'state', state, 'until',
    text(ends), 'succeeded', 0, 'failed', 0, 'since', text(now), 'reason', reason, 'by', by)
  touch()
  call('DEL', VOTES, PROBES)
  call('XADD', CHANGES, 'MAXLEN', '~', 1000, '*', 'breaker', ARGV[3], 'by', ARGV[2], 'state', state)
  call('PEXPIRE', CHANGES, DAY)
end
local function judge(probes, to_close, open_ms)
  if succeeded >= to_close then write(0, 0, 'probes_succeeded', ARGV[2])
  elseif failed > probes - to_close then write(1, now + open_ms, 'probes_failed', ARGV[2]) end
end
)lua";

constexpr std::string_view look_script = R"lua(
local more = call('HMGET', STATE, 'reason', 'by', 'successes', 'failures', 'not_counted', 'refused')
return answer(call('ZCOUNT', VOTES, now, '+inf'), call('ZCOUNT', PROBES, now, '+inf'), more[1] or '', more[2] or '',
  more[3] or '0', more[4] or '0', more[5] or '0', more[6] or '0')
)lua";

// ARGV: known epoch, known generation, for how long open in ms (0: takes the vote back), quorum, ms that a vote counts.
constexpr std::string_view vote_script = R"lua(
local open_ms = tonumber(ARGV[6])
if open_ms == 0 then call('ZREM', VOTES, ARGV[2]); return answer() end
if state ~= 0 or epoch ~= ARGV[4] or text(generation) ~= ARGV[5] then return answer() end
call('ZREMRANGEBYSCORE', VOTES, '-inf', now)
call('ZADD', VOTES, now + ARGV[8], ARGV[2])
call('PEXPIRE', VOTES, ARGV[8])
if call('ZCARD', VOTES) >= tonumber(ARGV[7]) then write(1, now + open_ms, 'quorum', ARGV[2]) end
return answer()
)lua";

// ARGV: ms of the lease, probes, successes to close, ms of the next break, then a number for each grant that is wanted.
// Asked again with the same numbers it grants the same.
constexpr std::string_view acquire_script = R"lua(
if state ~= 1 or now < ends then return answer(0, 0) end
local probes = tonumber(ARGV[5])
local silent = call('ZRANGEBYSCORE', PROBES, '-inf', now)
if #silent > 0 then
  call('ZREMRANGEBYSCORE', PROBES, '-inf', now)
  failed = failed + #silent
  call('HSET', STATE, 'failed', failed)
  judge(probes, tonumber(ARGV[6]), tonumber(ARGV[7]))
  if state ~= 1 or now < ends then return answer(0, 0) end
end
local free = probes - call('ZCARD', PROBES) - succeeded - failed
local granted = 0
for at = 8, #ARGV do
  local member = ARGV[2] .. ':' .. ARGV[at]
  if call('ZSCORE', PROBES, member) then granted = granted + 1
  elseif free > 0 then
    call('ZADD', PROBES, now + ARGV[4], member)
    free = free - 1
    granted = granted + 1
  else break end
end
touch()
local nearest = call('ZRANGE', PROBES, 0, 0, 'WITHSCORES')
if nearest[2] then call('PEXPIRE', PROBES, ARGV[4] + DAY) end
return answer(granted, nearest[2] and tonumber(nearest[2]) - now or 0)
)lua";

// ARGV: the grant's number, its verdict (0 success, 1 failure, 2 not counted), probes, successes to close, ms of the
// next break. One that is not known, or of another generation, moves nothing.
constexpr std::string_view settle_script = R"lua(
if call('ZREM', PROBES, ARGV[2] .. ':' .. ARGV[4]) == 0 or state ~= 1 then return answer() end
if ARGV[5] == '0' then
  succeeded = succeeded + 1
  call('HSET', STATE, 'succeeded', succeeded)
elseif ARGV[5] == '1' then
  failed = failed + 1
  call('HSET', STATE, 'failed', failed)
end
touch()
judge(tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
return answer()
)lua";

// ARGV: state, ms, who.
constexpr std::string_view force_script = R"lua(
local to = tonumber(ARGV[4])
write(to, to == 0 and 0 or now + ARGV[5], 'forced', ARGV[6])
if to == 0 then call('HDEL', STATE, 'successes', 'failures', 'not_counted', 'refused') end
return answer()
)lua";

// KEYS: how far this process has counted, then states. ARGV: fresh epoch, this turn's number, then of each state four
// counts. A turn that was sent twice is counted once.
constexpr std::string_view count_script = R"lua(
local call = redis.call
for at, key in ipairs(KEYS) do
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= (at == 1 and 'string' or 'hash') then return {'foreign', key, found} end
end
local last = tonumber(call('GET', KEYS[1]) or '0')
if last and last >= tonumber(ARGV[2]) then return {'ok'} end
call('SET', KEYS[1], ARGV[2], 'PX', 86400000)
for at = 2, #KEYS do
  local schema = call('HGET', KEYS[at], 'schema')
  if schema == '$SCHEMA' or (not schema and call('EXISTS', KEYS[at]) == 0) then
    if not schema then call('HSET', KEYS[at], 'schema', '$SCHEMA', 'epoch', ARGV[1], 'generation', 0, 'state', 0, 'until', 0) end
    for index, name in ipairs({'successes', 'failures', 'not_counted', 'refused'}) do
      local count = ARGV[2 + (at - 2) * 4 + index]
      if count ~= '0' then call('HINCRBY', KEYS[at], name, count) end
    end
    if call('PTTL', KEYS[at]) < 86400000 then call('PEXPIRE', KEYS[at], 86400000) end
  end
end
return {'ok'}
)lua";

std::string source_of(std::string_view script, bool with_prelude = true) {
  auto source = std::string(with_prelude ? prelude : std::string_view()) + std::string(script);
  constexpr std::string_view mark = "$SCHEMA";
  for (auto at = source.find(mark); at != std::string::npos; at = source.find(mark)) {
    source.replace(at, mark.size(), text(shared_breakers_schema));
  }
  return source;
}

struct Scripts {
  redis::Script look{source_of(look_script)};
  redis::Script vote{source_of(vote_script)};
  redis::Script acquire{source_of(acquire_script)};
  redis::Script settle{source_of(settle_script)};
  redis::Script force{source_of(force_script)};
  redis::Script count{source_of(count_script, false)};
};

Error strange() { return {Status::redis_error, "a script of the shared breakers gave what it never should", {}}; }

/// What every script but the counts' begins its answer with.
Result<SharedBreakerState> read_state(const Reply& reply) {
  const auto& items = reply.items;
  if (items.size() == 3 && items[0].text == "foreign") {
    return Error{
        Status::wrong_state,
        fmt::format("the key {} is a {} of somebody else's, and no shared breaker's", items[1].text, items[2].text),
        {}};
  }
  if (items.size() == 3 && items[0].text == "version") {
    return Error{Status::schema_too_new,
                 fmt::format("the key {} has schema {}; this version of the library knows {}", items[1].text,
                             items[2].text, shared_breakers_schema),
                 {}};
  }
  if (items.size() < 5 || items[0].text != "ok") return strange();
  SharedBreakerState out;
  out.epoch = items[1].text;
  out.generation = static_cast<std::uint64_t>(items[2].number());
  const auto state = items[3].number(-1);
  if (state < 0 || state > 5 || state == 2) return strange();
  out.state = static_cast<BreakerState>(state);
  out.left_us = items[4].number() * 1000;
  return out;
}

struct Wake {
  std::atomic<std::uint32_t> word{0};
  void now() noexcept {
    word.fetch_add(1, std::memory_order_acq_rel);
    wake_all(word);
  }
};

struct Counts {
  std::array<std::uint64_t, 4> of{};
};

}  // namespace

/// One breaker's share. What calls tell is taken down here, and carried on by the thread.
struct SharedBreakers::Member final : BreakerPeer {
  struct Ended {
    std::uint32_t grant = 0;
    Verdict verdict = Verdict::not_counted;
  };
  enum class Vote { none, tripped, back };

  void changed(const BreakerEvent& event) noexcept override {
    const auto breaker = of.lock();
    // In half-open for all the server counts the probes.
    if (!breaker || breaker->probes_gated()) return;
    if (event.to == BreakerState::open) {
      const std::lock_guard lock(mutex);
      vote = Vote::tripped;
      open_until_us = event.open_until_us;
    } else if (event.to == BreakerState::half_open) {
      return;  // It has not recovered yet.
    } else {
      const std::lock_guard lock(mutex);
      vote = Vote::back;
    }
    wake->now();
  }
  void probe_wanted() noexcept override {
    // Once for all who are refused until it was asked for.
    if (wanted.fetch_add(1, std::memory_order_acq_rel) == 0) wake->now();
  }
  void probe_ended(std::uint32_t grant, Verdict verdict) noexcept override {
    {
      const std::lock_guard lock(mutex);
      if (ended_count < ended.size()) {
        ended[ended_count++] = {grant, verdict};
      } else {
        ++ended_lost;
      }
    }
    wake->now();
  }
  bool has_ended() {
    const std::lock_guard lock(mutex);
    return ended_count > 0;
  }

  std::string name;
  std::vector<std::string> keys;
  std::weak_ptr<CircuitBreaker> of;
  std::shared_ptr<Wake> wake;  // Shared with the threads, which may be gone before the breaker.
  std::atomic<std::uint32_t> wanted{0};
  std::atomic<bool> dirty{true};
  std::atomic<std::uint32_t> known{0};  // Raised at the first answer, and woken.
  std::mutex mutex;
  Vote vote = Vote::none;  // Guarded by mutex, as the next.
  std::int64_t open_until_us = 0;
  std::array<Ended, most_ended> ended;
  std::size_t ended_count = 0;
  std::uint64_t ended_lost = 0;
  std::optional<Error> refused;  // The keys are not ours.

  // The thread's alone.
  std::string epoch;
  std::uint64_t generation = 0;
  bool shared_open = false;
  bool forced = false;
  std::int64_t forced_until_us = 0;
  std::int64_t grants_until_us = 0;  // When what is not used has to go back; 0: there is nothing.
  Counts counted;
};

struct SharedBreakers::Core {
  explicit Core(const SharedBreakersOptions& wanted)
      : options(wanted), process(instance_name()), own_pid(process_number()) {
    if (options.clock == nullptr) options.clock = &system_clock();
    prefix = fmt::format("{{{}:breakers}}", options.name_space);
    stream = prefix + ":changes";
  }

  std::int64_t now() const { return options.clock->now_us(); }
  std::vector<std::string> keys_of(std::string_view name) const {
    return {fmt::format("{}:state:{}", prefix, name), fmt::format("{}:votes:{}", prefix, name),
            fmt::format("{}:probes:{}", prefix, name), stream};
  }
  redis::ScriptCall call_of(redis::Script& script, const std::vector<std::string>& keys, std::string_view name) const {
    return {&script, keys, {fmt::format("{:016x}", random_bits()), process, std::string(name)}};
  }
  void say(LogLevel level, const std::string& message) noexcept {
    if (options.log && !stopping.load() && options.log->enabled(level)) options.log->write(level, "breakers", message);
  }
  std::vector<std::shared_ptr<Member>> everybody() {
    const std::lock_guard lock(mutex);
    std::erase_if(members, [](const auto& member) { return member->of.expired(); });
    return members;
  }

  void carry();
  void listen();
  /// One round of what there is to tell and to ask. False: the server did not answer.
  Result<void> round(const std::vector<std::shared_ptr<Member>>& all);
  void take(Member& member, const Reply& reply);
  void apply(Member& member, const SharedBreakerState& state);
  void leave(Member& member);
  void count(const std::vector<std::shared_ptr<Member>>& all);
  Result<void> send_counts();
  std::int64_t next_us(const std::vector<std::shared_ptr<Member>>& all) const;

  SharedBreakersOptions options;
  const std::string process;
  const std::int64_t own_pid;
  std::string prefix;
  std::string stream;
  Scripts scripts;
  std::unique_ptr<redis::Client> client;   // The thread's.
  std::unique_ptr<redis::Client> waiting;  // The listener's.
  std::unique_ptr<redis::Client> asking;   // Of calls that wait: force() and look().
  const std::shared_ptr<Wake> wake = std::make_shared<Wake>();
  std::mutex mutex;
  std::vector<std::shared_ptr<Member>> members;  // Guarded by mutex.
  std::atomic<bool> stopping{false};
  Wake ended;  // How many threads have.
  std::atomic<std::uint64_t> rounds_begun{0};
  Wake rounds_done;  // Counts those without a failure; with `begun`, what flush() waits for.
  std::atomic<std::uint64_t> last_done{0};
  std::atomic<bool> look_at_counts{false};

  std::atomic<bool> linked{false};
  std::atomic<std::int64_t> heard_us{-1};
  std::atomic<std::uint64_t> turns{0}, commands{0}, failures{0}, wake_ups{0}, lost_outcomes{0};

  // The thread's alone.
  std::uint32_t next_grant = 0;
  std::uint32_t failed_turns = 0;
  std::int64_t retry_us = 0;
  std::int64_t lost_since_us = 0;
  std::int64_t flush_at_us = 0;  // 0: nothing was counted lately.
  std::uint64_t sequence = 0;
  std::optional<redis::ScriptCall> counts;  // On their way, sent again as they are until they have arrived.

  std::uint32_t started = 0;  // Of the two threads, the opener's.
  std::thread carrier;
  std::thread listener;
};

void SharedBreakers::Core::leave(Member& member) {
  const auto breaker = member.of.lock();
  if (!breaker) return;
  breaker->gate_probes(false);
  while (const auto grant = breaker->take_back_grant(std::numeric_limits<std::int64_t>::max())) {
    member.probe_ended(grant, Verdict::not_counted);
  }
  member.grants_until_us = 0;
}

void SharedBreakers::Core::apply(Member& member, const SharedBreakerState& state) {
  const auto breaker = member.of.lock();
  if (!breaker) return;
  const auto now_us = now();
  member.epoch = state.epoch;
  member.generation = state.generation;
  if (state.state == BreakerState::open) {
    if (member.forced) {
      member.forced = false;
      (void)breaker->follow(BreakerState::closed, 0, true, now_us);
    }
    member.shared_open = true;
    breaker->gate_probes(true);
    // When its time is over, it is probed: somebody's half-open here stays what it is, and a probe that has just ended
    // may have closed it for all.
    if (state.left_us > 0 || (breaker->state(now_us) != BreakerState::half_open && !member.has_ended())) {
      (void)breaker->follow(BreakerState::open, now_us + state.left_us, false, now_us);
    }
    return;
  }
  leave(member);
  if (state.state != BreakerState::closed) {
    member.shared_open = false;
    member.forced = true;
    member.forced_until_us = now_us + state.left_us;
    (void)breaker->follow(state.state, 0, true, now_us);
    return;
  }
  // What this process found out alone stands: only what was shared is taken back.
  if (member.shared_open || member.forced) (void)breaker->follow(BreakerState::closed, 0, member.forced, now_us);
  member.shared_open = false;
  member.forced = false;
}

void SharedBreakers::Core::take(Member& member, const Reply& reply) {
  const auto state = read_state(reply);
  bool told = false;
  {
    const std::lock_guard lock(member.mutex);
    told = member.refused.has_value();
    member.refused.reset();
    if (!state) member.refused = state.error();
  }
  if (state) {
    apply(member, state.value());
  } else {
    leave(member);
    if (!told) say(LogLevel::error, fmt::format("breaker {}: {}", member.name, state.error().message));
  }
  if (member.known.exchange(1) == 0) wake_all(member.known);
}

void SharedBreakers::Core::count(const std::vector<std::shared_ptr<Member>>& all) {
  if (counts) return;
  redis::ScriptCall call{&scripts.count, {fmt::format("{}:seen:{}", prefix, process)}, {}};
  std::vector<std::pair<Member*, Counts>> news;
  call.arguments = {fmt::format("{:016x}", random_bits()), text(sequence + 1)};
  for (const auto& member : all) {
    const auto breaker = member->of.lock();
    if (!breaker) continue;
    const auto report = breaker->report(now());
    const Counts held{{report.successes, report.failures, report.not_counted, report.refused}};
    if (held.of == member->counted.of) continue;
    if (call.keys.size() > 250) break;  // The rest comes with the next.
    call.keys.push_back(member->keys[0]);
    for (std::size_t at = 0; at < held.of.size(); ++at)
      call.arguments.push_back(text(held.of[at] - member->counted.of[at]));
    news.emplace_back(member.get(), held);
  }
  if (news.empty()) {
    flush_at_us = 0;
    return;
  }
  counts = std::move(call);
  ++sequence;
  for (const auto& [member, held] : news) member->counted = held;
  flush_at_us = now() + options.flush_us;
}

Result<void> SharedBreakers::Core::send_counts() {
  if (!counts) return success();
  ++turns;
  ++commands;
  const auto reply = client->run(*counts, Repeat::safe);
  // An answer that is an error would be the same again: those counts are gone.
  if (!reply && reply.error().status != Status::redis_error) return reply.error();
  counts.reset();
  return success();
}

Result<void> SharedBreakers::Core::round(const std::vector<std::shared_ptr<Member>>& all) {
  enum class What { look, vote, acquire, settle };
  struct Sent {
    What what;
    Member* member;
    std::uint32_t first = 0;
    std::uint32_t wanted = 0;
    std::int64_t at_us = 0;
    Member::Vote vote = Member::Vote::none;
    std::string epoch = {};  // What the vote was made of, as the next.
    std::uint64_t generation = 0;
  };
  std::vector<redis::ScriptCall> calls;
  std::vector<Sent> sent;
  const auto now_us = now();
  const auto add = [&](redis::Script& script, const Member& member, Sent what) -> std::vector<std::string>& {
    calls.push_back(call_of(script, member.keys, member.name));
    sent.push_back(std::move(what));
    return calls.back().arguments;
  };
  bool more = false;
  for (const auto& each : all) {
    auto& member = *each;
    const auto breaker = member.of.lock();
    if (!breaker) continue;
    if (calls.size() + most_ended + 3 > calls_a_turn) {
      more = true;
      break;
    }
    const auto& own = breaker->options();
    const auto open_ms = [&] {
      // As long as its own break would be, spread as its own.
      const auto share = static_cast<double>(random_bits() >> 11) * 0x1p-53;
      return text(static_cast<std::uint64_t>(
          ms_up(own.open_us + static_cast<std::int64_t>(static_cast<double>(own.open_us) * own.jitter * share))));
    };
    if (member.forced && now_us >= member.forced_until_us) member.dirty = true;
    if (member.grants_until_us != 0 && now_us >= member.grants_until_us) {
      member.grants_until_us = 0;
      while (const auto grant = breaker->take_back_grant(now_us)) member.probe_ended(grant, Verdict::not_counted);
    }
    std::array<Member::Ended, most_ended> over;
    std::size_t over_count = 0;
    auto vote = Member::Vote::none;
    std::int64_t open_until_us = 0;
    {
      const std::lock_guard lock(member.mutex);
      over = member.ended;
      over_count = member.ended_count;
      vote = member.vote;
      open_until_us = member.open_until_us;
      lost_outcomes += std::exchange(member.ended_lost, 0);
    }
    for (std::size_t at = 0; at < over_count; ++at) {
      auto& arguments = add(scripts.settle, member, {What::settle, &member});
      for (auto& argument : {text(over[at].grant), text(static_cast<std::uint32_t>(over[at].verdict)), text(own.probes),
                             text(own.probes_to_close), open_ms()}) {
        arguments.push_back(argument);
      }
    }
    if (vote == Member::Vote::tripped && open_until_us <= now_us) vote = Member::Vote::none;  // Too late to matter.
    if (vote != Member::Vote::none) {
      auto& arguments =
          add(scripts.vote, member, {What::vote, &member, 0, 0, open_until_us, vote, member.epoch, member.generation});
      arguments.push_back(member.epoch);
      arguments.push_back(text(member.generation));
      arguments.push_back(vote == Member::Vote::back ? "0"
                                                     : text(static_cast<std::uint64_t>(ms_up(open_until_us - now_us))));
      arguments.push_back(text(options.quorum));
      arguments.push_back(text(static_cast<std::uint64_t>(ms_up(options.vote_us))));
    }
    const auto wanted = member.wanted.exchange(0, std::memory_order_acq_rel);
    if (wanted > 0 && breaker->probes_gated()) {
      const auto count = std::min(wanted, own.probes);
      auto& arguments = add(scripts.acquire, member, {What::acquire, &member, next_grant, count, now_us});
      arguments.push_back(text(static_cast<std::uint64_t>(ms_up(grant_window_us + own.probe_lease_us))));
      arguments.push_back(text(own.probes));
      arguments.push_back(text(own.probes_to_close));
      arguments.push_back(open_ms());
      for (std::uint32_t at = 0; at < count; ++at) {
        arguments.push_back(text(next_grant + 1));
        next_grant = (next_grant + 1) % CircuitBreaker::max_grant;
      }
    }
    if (member.dirty.exchange(false)) add(scripts.look, member, {What::look, &member});
  }
  if (!calls.empty()) {
    ++turns;
    commands += calls.size();
    const auto give_up = [&](Error error) -> Result<void> {
      // What was asked is asked again. Votes and ends were left where they are until they have arrived.
      for (const auto& each : sent) each.member->dirty = true;
      return error;
    };
    auto replies = client->run_many(calls, Repeat::safe);
    if (!replies) return give_up(std::move(replies).error());
    for (std::size_t at = 0; at < sent.size(); ++at) {
      const auto& asked = sent[at];
      auto& member = *asked.member;
      const auto& answer = replies.value()[at];
      if (!answer) return give_up(answer.error());
      const auto& reply = answer.value();
      if (asked.what == What::settle) {
        const std::lock_guard lock(member.mutex);
        // The oldest: they were sent in their order.
        std::move(member.ended.begin() + 1, member.ended.begin() + static_cast<std::ptrdiff_t>(member.ended_count),
                  member.ended.begin());
        --member.ended_count;
      }
      if (asked.what == What::vote) {
        const auto state = read_state(reply);
        const std::lock_guard lock(member.mutex);
        // A vote of another generation was not counted: the breaker is still open, so it votes once more.
        const bool again = asked.vote == Member::Vote::tripped && state &&
                           state.value().state == BreakerState::closed &&
                           (state.value().epoch != asked.epoch || state.value().generation != asked.generation);
        if (again) {
          more = true;
        } else if (member.vote == asked.vote && member.open_until_us == asked.at_us) {
          member.vote = Member::Vote::none;
        }
      }
      take(member, reply);
      if (asked.what != What::acquire || reply.items.size() < 7) continue;
      const auto granted =
          static_cast<std::uint32_t>(std::clamp<std::int64_t>(reply.items[5].number(), 0, asked.wanted));
      const auto breaker = member.of.lock();
      const auto until_us = asked.at_us + grant_window_us;
      for (std::uint32_t index = 0; index < granted; ++index) {
        const auto number = (asked.first + index) % CircuitBreaker::max_grant + 1;
        // Before the server answered: so the window ends here first.
        if (!breaker || !breaker->grant(number, until_us)) member.probe_ended(number, Verdict::not_counted);
      }
      if (granted > 0) member.grants_until_us = until_us;
      if (granted < asked.wanted && breaker) {
        const auto wait_us = std::clamp<std::int64_t>(reply.items[6].number() * 1000, 5'000, 100'000);
        breaker->hold_probes(granted > 0 ? 0 : asked.at_us + wait_us);
      }
    }
  }
  if (more) wake->word.fetch_add(1);
  if (look_at_counts.exchange(false) || (flush_at_us != 0 && now_us >= flush_at_us)) count(all);
  return send_counts();
}

std::int64_t SharedBreakers::Core::next_us(const std::vector<std::shared_ptr<Member>>& all) const {
  auto at = std::numeric_limits<std::int64_t>::max();
  if (flush_at_us != 0) at = std::min(at, flush_at_us);
  for (const auto& member : all) {
    if (member->grants_until_us != 0) at = std::min(at, member->grants_until_us);
    if (member->forced) at = std::min(at, member->forced_until_us);
  }
  return at;
}

void SharedBreakers::Core::carry() {
  while (true) {
    const auto seen = wake->word.load(std::memory_order_acquire);
    ++wake_ups;
    auto timeout_us = std::int64_t{-1};
    const bool last = stopping.load();
    try {
      auto all = everybody();
      if (last) {
        look_at_counts = true;
        for (const auto& member : all) leave(*member);
      }
      const auto begun = rounds_begun.load();
      const auto done = last || now() >= retry_us ? round(all) : Result<void>(Error{Status::would_block, {}, {}});
      if (done) {
        heard_us = now();
        failed_turns = 0;
        if (!linked.exchange(true)) {
          say(LogLevel::info, fmt::format("{} answers", client->url().shown()));
          // What was missed meanwhile.
          for (const auto& member : all) member->dirty = true;
          wake->word.fetch_add(1);
        }
        last_done = begun;
        rounds_done.now();
        const auto at = next_us(all);
        if (at != std::numeric_limits<std::int64_t>::max()) timeout_us = std::max<std::int64_t>(at - now(), 1000);
      } else {
        if (done.error().status != Status::would_block) {
          ++failures;
          const auto bound = backoff_bound_us(backoff_base_us, backoff_cap_us, ++failed_turns);
          retry_us =
              now() + bound / 2 + static_cast<std::int64_t>(random_bits() % static_cast<std::uint64_t>(bound / 2));
          if (linked.exchange(false) || failed_turns == 1) {
            lost_since_us = now();
            say(LogLevel::warning,
                fmt::format("the breakers go on alone, as their server does not answer: {}", done.error().message));
          }
        }
        const bool stale = now() - lost_since_us >= options.stale_us;
        for (const auto& member : all) {
          leave(*member);
          if (!stale) continue;
          if (const auto breaker = member->of.lock(); breaker && std::exchange(member->forced, false)) {
            (void)breaker->follow(BreakerState::closed, 0, true, now());
          }
        }
        timeout_us = std::max<std::int64_t>(retry_us - now(), 1000);
      }
    } catch (const std::bad_alloc&) {
      timeout_us = backoff_base_us;
    }
    if (last) break;
    wait_on(wake->word, seen, timeout_us);
  }
  ended.now();
}

void SharedBreakers::Core::listen() {
  std::string last;
  std::uint32_t failed = 0;
  const auto look_around = [&] {
    for (const auto& member : everybody()) member->dirty = true;
    look_at_counts = true;
    wake->now();
  };
  while (!stopping.load()) {
    ++wake_ups;
    try {
      auto reply = [&]() -> Result<Reply> {
        if (!last.empty()) {
          // Not to be repeated: a server that is gone has to be known now, not when the time to wait is over.
          return waiting->call({"XREAD", "BLOCK", text(static_cast<std::uint64_t>(ms_up(options.look_every_us))),
                                "STREAMS", stream, last},
                               Repeat::no, options.look_every_us + 2'000'000);
        }
        // Where news begin, before the present state is looked at: so none falls between.
        GF_TRY(const auto newest, waiting->call({"XREVRANGE", stream, "+", "-", "COUNT", "1"}, Repeat::safe));
        last = newest.items.empty() || newest.items[0].items.empty() ? "0-0" : newest.items[0].items[0].text;
        look_around();
        return Reply{Reply::Kind::status, 0, {}, {}};
      }();
      if (!reply) {
        last.clear();
        // The other thread finds out whether the server is gone.
        if (failed == 0) look_around();
        const auto bound = backoff_bound_us(backoff_base_us, backoff_cap_us, ++failed);
        const auto until_us =
            now() + bound / 2 + static_cast<std::int64_t>(random_bits() % static_cast<std::uint64_t>(bound / 2));
        while (!stopping.load() && now() < until_us) {
          const auto seen = ended.word.load();
          if (!stopping.load()) wait_on(ended.word, seen, until_us - now());
        }
        continue;
      }
      failed = 0;
      if (reply.value().is_nil()) {
        look_around();
        continue;
      }
      bool mine = false;
      for (const auto& of : reply.value().items) {
        if (of.items.size() != 2) continue;
        for (const auto& entry : of.items[1].items) {
          if (entry.items.size() != 2) continue;
          last = entry.items[0].text;
          std::string_view name;
          std::string_view by;
          const auto& fields = entry.items[1].items;
          for (std::size_t at = 0; at + 1 < fields.size(); at += 2) {
            if (fields[at].text == "breaker") name = fields[at + 1].text;
            if (fields[at].text == "by") by = fields[at + 1].text;
          }
          const std::lock_guard lock(mutex);
          for (const auto& member : members) {
            // A change of one's own was in the answer to it, unless several here have the name.
            if (member->name != name || (by == process && members.size() == 1)) continue;
            member->dirty = true;
            mine = true;
          }
        }
      }
      if (mine) wake->now();
    } catch (const std::bad_alloc&) {
      last.clear();
    }
  }
  ended.now();
}

Result<std::unique_ptr<SharedBreakers>> SharedBreakers::open(const SharedBreakersOptions& options) {
  GF_TRYV(check_range("quorum", options.quorum, 1, 1000));
  GF_TRYV(check_range("vote_us", options.vote_us, 1'000'000, longest_us));
  GF_TRYV(check_range("stale_us", options.stale_us, 1'000'000, longest_us));
  GF_TRYV(check_range("flush_us", options.flush_us, 10'000, 3'600'000'000));
  GF_TRYV(check_range("look_every_us", options.look_every_us, 100'000, 3'600'000'000));
  GF_TRY(const auto client, client_options(options.name_space, options.command_timeout_us, 2));
  auto core = std::make_shared<Core>(options);
  GF_TRY(core->client, redis::Client::create(options.url, client));
  GF_TRY(core->waiting, redis::Client::create(options.url, client));
  GF_TRY(core->asking, redis::Client::create(options.url, client));
  std::unique_ptr<SharedBreakers> out(new SharedBreakers(core));
  try {
    core->carrier = start_thread("gf-breakers", [core] { core->carry(); });
    ++core->started;
    core->listener = start_thread("gf-breakers-in", [core] { core->listen(); });
    ++core->started;
  } catch (const std::system_error& e) {
    return Error{Status::io_error, fmt::format("the thread could not be started: {}", e.what()), {}};
  }
  return out;
}

SharedBreakers::SharedBreakers(std::shared_ptr<Core> core) : core_(std::move(core)) {}
SharedBreakers::~SharedBreakers() { close(0); }

void SharedBreakers::close(std::int64_t timeout_us) {
  auto& core = *core_;
  if (core.stopping.exchange(true)) return;
  if (process_number() != core.own_pid) {  // A fork's child has no such threads.
    if (core.carrier.joinable()) core.carrier.detach();
    if (core.listener.joinable()) core.listener.detach();
    return;
  }
  core.asking->close();
  core.waiting->close();
  core.wake->now();
  core.ended.word.fetch_add(2);  // Ends the listener's pause; each thread adds one.
  wake_all(core.ended.word);
  const auto begun_us = system_clock().now_us();
  const auto wait_until = [&](std::int64_t until_us) {
    for (;;) {
      const auto seen = core.ended.word.load();
      if (seen >= 2 + core.started) return true;
      const auto left_us = until_us - system_clock().now_us();
      if (left_us <= 0) return false;
      wait_on(core.ended.word, seen, left_us);
    }
  };
  if (!wait_until(begun_us + std::max<std::int64_t>(timeout_us, 0))) core.client->close();
  // The interrupt ends every wait of ours at once; only the system's resolver may still hold a thread.
  const bool over = wait_until(system_clock().now_us() + 100'000);
  for (auto* thread : {&core.carrier, &core.listener}) {
    if (!thread->joinable()) continue;
    if (over) {
      thread->join();
    } else {
      thread->detach();
    }
  }
  const std::lock_guard lock(core.mutex);
  for (const auto& member : core.members) {
    if (const auto breaker = member->of.lock()) breaker->gate_probes(false);
  }
}

Result<void> SharedBreakers::share(const std::shared_ptr<CircuitBreaker>& breaker, std::string_view name,
                                   std::int64_t timeout_us) {
  if (name.empty() || name.size() > 200) {
    return invalid(fmt::format("name has {} bytes; it must have 1 to 200", name.size()));
  }
  if (timeout_us < 0) return invalid(fmt::format("timeout_us is {}; it must not be negative", timeout_us));
  auto& core = *core_;
  if (core.stopping.load()) return Error{Status::wrong_state, "the sharing is closed", {}};
  const auto member = std::make_shared<Member>();
  member->name = name;
  member->keys = core.keys_of(name);
  member->of = breaker;
  member->wake = core.wake;
  {
    const std::lock_guard lock(core.mutex);
    std::erase_if(core.members, [](const auto& each) { return each->of.expired(); });
    if (core.members.size() >= most_members) {
      return Error{Status::over_budget, fmt::format("{} breakers are shared; no more may be", most_members), {}};
    }
    core.members.reserve(core.members.size() + 1);
    if (!breaker->attach(member)) {
      return Error{Status::already_exists, fmt::format("the breaker is shared already, not as {}", name), {}};
    }
    core.members.push_back(member);
  }
  core.look_at_counts = true;
  core.wake->now();
  const auto until_us = system_clock().now_us() + timeout_us;
  while (timeout_us > 0 && member->known.load() == 0) {
    const auto left_us = until_us - system_clock().now_us();
    if (left_us <= 0) {
      return Error{Status::timed_out,
                   fmt::format("{} was not heard in {} us; the breaker {} goes on alone until it is",
                               core.asking->url().shown(), timeout_us, name),
                   {}};
    }
    wait_on(member->known, 0, left_us);
  }
  const std::lock_guard lock(member->mutex);
  if (member->refused) return *member->refused;
  return success();
}

Result<void> SharedBreakers::force(std::string_view name, BreakerState state, std::int64_t expires_us,
                                   std::string_view by) {
  if (name.empty() || name.size() > 200) {
    return invalid(fmt::format("name has {} bytes; it must have 1 to 200", name.size()));
  }
  if (by.empty() || by.size() > 100) return invalid(fmt::format("by has {} bytes; it must have 1 to 100", by.size()));
  if (state == BreakerState::open || state == BreakerState::half_open) {
    return invalid(
        fmt::format("state is {}; it must be closed, forced_open, forced_closed or disabled", name_of(state)));
  }
  if (state != BreakerState::closed && (expires_us < 1'000'000 || expires_us > longest_us)) {
    return invalid(fmt::format("expires_us is {}; it must be 1000000 to {}", expires_us, longest_us));
  }
  auto& core = *core_;
  auto call = core.call_of(core.scripts.force, core.keys_of(name), name);
  call.arguments.push_back(text(static_cast<std::uint32_t>(state)));
  call.arguments.push_back(text(static_cast<std::uint64_t>(ms_up(expires_us))));
  call.arguments.emplace_back(by);
  GF_TRY(const auto reply, core.asking->run(std::move(call), Repeat::safe));
  GF_TRYV(read_state(reply));
  // At once for those here.
  for (const auto& member : core.everybody()) {
    if (member->name == name) member->dirty = true;
  }
  core.wake->now();
  return success();
}

Result<SharedBreakerState> SharedBreakers::look(std::string_view name) {
  if (name.empty() || name.size() > 200) {
    return invalid(fmt::format("name has {} bytes; it must have 1 to 200", name.size()));
  }
  auto& core = *core_;
  GF_TRY(const auto reply, core.asking->run(core.call_of(core.scripts.look, core.keys_of(name), name), Repeat::safe));
  GF_TRY(auto out, read_state(reply));
  if (reply.items.size() < 13) return strange();
  const auto at = [&](std::size_t index) { return static_cast<std::uint64_t>(reply.items[index].number()); };
  out.votes = static_cast<std::uint32_t>(at(5));
  out.probing = static_cast<std::uint32_t>(at(6));
  out.reason = reply.items[7].text;
  out.by = reply.items[8].text;
  out.successes = at(9);
  out.failures = at(10);
  out.not_counted = at(11);
  out.refused = at(12);
  return out;
}

Result<void> SharedBreakers::flush(std::int64_t timeout_us) {
  auto& core = *core_;
  const auto until_us = system_clock().now_us() + std::max<std::int64_t>(timeout_us, 0);
  // The second round finds what the first, which may have begun before, has put on its way.
  for (int round = 0; round < 2; ++round) {
    core.look_at_counts = true;
    const auto mark = core.rounds_begun.fetch_add(1) + 1;
    core.wake->now();
    for (;;) {
      const auto seen = core.rounds_done.word.load();
      if (core.last_done.load() >= mark) break;
      const auto left_us = until_us - system_clock().now_us();
      if (left_us <= 0 || core.stopping.load()) {
        return Error{Status::timed_out, fmt::format("{} did not answer in time", core.asking->url().shown()), {}};
      }
      wait_on(core.rounds_done.word, seen, left_us);
    }
  }
  return success();
}

SharedBreakersStatistics SharedBreakers::statistics() const {
  const auto& core = *core_;
  SharedBreakersStatistics out;
  out.linked = core.linked.load();
  const auto heard_us = core.heard_us.load();
  if (heard_us >= 0) out.heard_ago_us = std::max<std::int64_t>(core.now() - heard_us, 0);
  out.turns = core.turns.load();
  out.commands = core.commands.load();
  out.failures = core.failures.load();
  out.wake_ups = core.wake_ups.load();
  out.lost_outcomes = core.lost_outcomes.load();
  return out;
}

}  // namespace gf::error
