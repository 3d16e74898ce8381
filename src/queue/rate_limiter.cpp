#include "queue/rate_limiter.hpp"

#include "queue/queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>
#include <vector>

namespace gf::queue {
namespace {

struct Concern {
  std::string bucket;
  TokenRate rate;
};

/// The buckets that a question is about.
Result<std::vector<Concern>> concerns_of(const RateQuestion& question, const RateLimits& limits) {
  GF_TRYV(check_name("queue", question.queue, true));
  GF_TRYV(check_name("user", question.user, true));
  GF_TRYV(check_name("user_class", question.user_class, true));
  std::vector<Concern> concerns;
  const auto add = [&](std::string bucket, const TokenBucketLimits& of) -> Result<void> {
    GF_TRY(const auto rate, TokenRate::create(of));
    if (question.tokens < 1 || question.tokens > rate.burst()) {
      return Error{Status::invalid_argument,
                   fmt::format("tokens is {}; it must be 1 to the burst, {}", question.tokens, rate.burst()),
                   {}};
    }
    concerns.push_back({std::move(bucket), rate});
    return success();
  };
  if (limits.global) {
    GF_TRYV(add("global", *limits.global));
  }
  if (limits.per_queue) {
    GF_TRYV(add("queue:" + question.queue, *limits.per_queue));
  }
  const auto of_class = limits.user_classes.find(question.user_class);
  if (of_class != limits.user_classes.end()) {
    GF_TRYV(add("user:" + question.user, of_class->second));
  } else if (limits.per_user) {
    GF_TRYV(add("user:" + question.user, *limits.per_user));
  }
  return concerns;
}

// tokens, then for each key: interval, burst. A refusal keeps only what corrects a state that is too far off.
constexpr std::string_view take_script = R"lua(
local tokens = tonumber(ARGV[1])
local states, worst, remaining = {}, 0, nil
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local latest = T + interval * burst
  local was = tonumber(redis.call('GET', key) or '0') or 0
  local full = math.min(was, latest)
  local before = math.max(full, T)
  local after = before + tokens * interval
  states[i] = {was = was, full = full, before = before, after = after, latest = latest, interval = interval}
  worst = math.max(worst, after - latest)
end
for i, key in ipairs(KEYS) do
  local s = states[i]
  local state = worst <= 0 and s.after or s.full
  if state ~= s.was then
    redis.call('SET', key, string.format('%.0f', state), 'PX', string.format('%.0f', math.max(math.ceil((state - T) / 1000), 1) + SPARE))
  end
  local left = math.floor((s.latest - (worst <= 0 and s.after or s.before)) / s.interval)
  remaining = math.min(remaining or left, left)
end
return {worst <= 0 and 1 or 0, math.max(worst, 0), remaining or 0}
)lua";

std::string take_source(std::string_view clock) {
  std::string source;
  if (clock.empty()) {
    source =
        "local time = redis.call('TIME')\nlocal T = tonumber(time[1]) * 1000000 + tonumber(time[2])\nlocal SPARE = 0\n";
  } else {
    // Keys live by the server's time, which goes on while a test's clock stands.
    source = fmt::format("local T = {}\nlocal SPARE = 3600000\n", clock);
  }
  source += take_script;
  return source;
}

/// Where nothing is limited.
TokenBucketAnswer unlimited() {
  return {.admitted = true, .retry_after_us = 0, .remaining = std::numeric_limits<std::uint32_t>::max()};
}

}  // namespace

Result<void> check(const RateLimits& limits) {
  for (const auto* of : {&limits.global, &limits.per_queue, &limits.per_user}) {
    if (*of) {
      GF_TRYV(TokenRate::create(**of));
    }
  }
  for (const auto& [name, of] : limits.user_classes) {
    GF_TRYV(check_name("user_class", name, true));
    GF_TRYV(TokenRate::create(of));
  }
  return success();
}

Result<std::unique_ptr<MemoryRateLimiter>> MemoryRateLimiter::create(const RateLimits& limits, const Clock& clock) {
  GF_TRYV(check(limits));
  return std::unique_ptr<MemoryRateLimiter>(new MemoryRateLimiter(limits, clock));
}

Result<void> MemoryRateLimiter::configure(const RateLimits& limits) {
  GF_TRYV(check(limits));
  const std::lock_guard lock(mutex_);
  limits_ = limits;
  return success();
}

std::size_t MemoryRateLimiter::bucket_count() const {
  const std::lock_guard lock(mutex_);
  return names_.count();
}

Result<TokenBucketAnswer> MemoryRateLimiter::take(const RateQuestion& question) {
  const std::lock_guard lock(mutex_);
  GF_TRY(const auto concerns, concerns_of(question, limits_));
  if (concerns.empty()) return unlimited();
  const auto now = std::max<std::int64_t>(clock_.now_us(), 0);
  const auto place = [this](std::uint32_t at) -> std::uint32_t& { return buckets_[at].expiry_at; };
  // More go than come, so that what is kept stays bounded by what is not full.
  for (int count = 0; count < 8 && !expiry_.empty() && expiry_.top().key <= now; ++count) {
    const auto full = expiry_.top().slot;
    expiry_.remove(full, place);
    buckets_[full] = Bucket{};
    names_.let_go(full);
    names_.forget(full);
  }
  std::vector<std::int64_t> states;
  states.reserve(concerns.size());
  TokenBucketAnswer out{.admitted = true, .retry_after_us = 0, .remaining = std::numeric_limits<std::uint32_t>::max()};
  std::vector<TokenBucketAnswer> answers;
  answers.reserve(concerns.size());
  for (const auto& concern : concerns) {
    const auto number = names_.find(concern.bucket);
    states.push_back(number == Names::none ? 0 : buckets_[number].full_at_us);
    GF_TRY(const auto answer, concern.rate.take(states.back(), now, question.tokens));
    answers.push_back(answer);
    out.admitted = out.admitted && answer.admitted;
    out.retry_after_us = std::max(out.retry_after_us, answer.retry_after_us);
  }
  for (std::size_t at = 0; at < concerns.size(); ++at) {
    const auto left = answers[at].remaining + (!out.admitted && answers[at].admitted ? question.tokens : 0);
    out.remaining = std::min(out.remaining, left);
  }
  if (!out.admitted) {
    for (std::size_t at = 0; at < concerns.size(); ++at) {
      // A refusal keeps only what corrects a state that is too far off.
      const auto number = names_.find(concerns[at].bucket);
      if (number == Names::none || answers[at].admitted || buckets_[number].full_at_us <= states[at]) continue;
      buckets_[number].full_at_us = states[at];
      expiry_.update(states[at], number, place);
    }
    return out;
  }
  // All memory first, so that nobody is charged in part.
  std::array<std::uint32_t, 3> numbers{};
  std::size_t held = 0;
  try {
    for (; held < concerns.size(); ++held) numbers[held] = names_.hold(concerns[held].bucket);
    buckets_.reserve(names_.size());
    expiry_.reserve(names_.count());
  } catch (const std::bad_alloc&) {
    for (std::size_t at = 0; at < held; ++at) {
      if (names_.let_go(numbers[at])) names_.forget(numbers[at]);
    }
    throw;
  }
  for (std::size_t at = 0; at < concerns.size(); ++at) {
    auto& bucket = buckets_[numbers[at]];
    bucket.full_at_us = states[at];
    if (bucket.expiry_at == IndexHeap<std::int64_t>::nowhere) {
      expiry_.push(states[at], numbers[at], place);
    } else {
      names_.let_go(numbers[at]);  // It is held once.
      expiry_.update(states[at], numbers[at], place);
    }
  }
  return out;
}

Result<std::unique_ptr<RedisRateLimiter>> RedisRateLimiter::create(RedisRateLimiterOptions options) {
  GF_TRYV(check(options.limits));
  GF_TRYV(check_name("name_space", options.name_space, false));
  if (options.name_space.find_first_of("{}") != std::string::npos) {
    return Error{
        Status::invalid_argument, fmt::format("{} has a brace, which would cut the hash tag", options.name_space), {}};
  }
  GF_TRY(auto client, redis::Client::create(options.url, options.client));
  return std::unique_ptr<RedisRateLimiter>(new RedisRateLimiter(std::move(options), std::move(client)));
}

RedisRateLimiter::RedisRateLimiter(RedisRateLimiterOptions options, std::unique_ptr<redis::Client> client)
    : name_space_(std::move(options.name_space)),
      client_(std::move(client)),
      script_(take_source(options.test_clock)),
      limits_(std::move(options.limits)) {}

Result<void> RedisRateLimiter::configure(const RateLimits& limits) {
  GF_TRYV(check(limits));
  const std::lock_guard lock(mutex_);
  limits_ = limits;
  return success();
}

Result<TokenBucketAnswer> RedisRateLimiter::take(const RateQuestion& question) {
  redis::ScriptCall call;
  {
    const std::lock_guard lock(mutex_);
    GF_TRY(const auto concerns, concerns_of(question, limits_));
    if (concerns.empty()) return unlimited();
    call.script = &script_;
    call.arguments.push_back(fmt::format("{}", question.tokens));
    for (const auto& concern : concerns) {
      call.keys.push_back(fmt::format("{{{}:rate}}:{}", name_space_, concern.bucket));
      call.arguments.push_back(fmt::format("{}", concern.rate.interval_us()));
      call.arguments.push_back(fmt::format("{}", concern.rate.burst()));
    }
  }
  // Not repeated: a token that was taken twice would be one too many.
  GF_TRY(const auto reply, client_->run(call, redis::Repeat::no));
  if (reply.items.size() != 3)
    return Error{Status::redis_error, "the script of the rate limiter gave what it never should", {}};
  return TokenBucketAnswer{
      .admitted = reply.items[0].number() != 0,
      .retry_after_us = reply.items[1].number(),
      .remaining = static_cast<std::uint32_t>(
          std::clamp<std::int64_t>(reply.items[2].number(), 0, std::numeric_limits<std::uint32_t>::max())),
  };
}

}  // namespace gf::queue
