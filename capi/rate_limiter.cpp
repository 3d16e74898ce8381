// Rate limiters at the ABI.
#include "queue/rate_limiter.hpp"

#include "firewall.hpp"
#include "objects.hpp"
#include "queue_options.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::queue;

namespace gf::capi {

RateLimiterTable& rate_limiters() {
  static auto& table = *new RateLimiterTable;
  return table;
}

namespace {

static_assert(sizeof(gf_rate) == 16);
static_assert(sizeof(gf_rate_limiter_options) == 96);
static_assert(sizeof(gf_rate_question) == 32);
static_assert(sizeof(gf_rate_answer) == 16);
constexpr std::size_t first_options_bytes = 96;
constexpr std::size_t first_question_bytes = 32;
constexpr std::size_t first_answer_bytes = 16;

Result<gf_rate_limiter_options> read_struct(const gf_rate_limiter_options* given) {
  if (given == nullptr) return invalid("options is NULL");
  return read_options(given, gf_rate_limiter_options GF_RATE_LIMITER_OPTIONS_INIT, first_options_bytes, "options");
}

Result<RateLimits> rate_limits(const gf_rate_limiter_options& read) {
  RateLimits limits;
  limits.global = limits_of(read.global);
  limits.per_queue = limits_of(read.per_queue);
  limits.per_user = limits_of(read.per_user);
  GF_TRYV(read_classes(read.class_names, read.class_rates, read.class_count, "options->class", limits));
  GF_TRYV(check(limits));
  return limits;
}

}  // namespace

std::optional<TokenBucketLimits> limits_of(const gf_rate& rate) {
  if (rate.tokens == 0) return std::nullopt;
  return TokenBucketLimits{rate.tokens, rate.period_us, rate.burst};
}

Result<void> read_classes(const char* const* names, const gf_rate* rates, std::uint32_t count, std::string_view prefix,
                          RateLimits& limits) {
  if (count != 0 && (names == nullptr || rates == nullptr)) {
    return invalid(fmt::format("{0}_count is {1}, and {0}_names or {0}_rates NULL", prefix, count));
  }
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto what = fmt::format("{}_names[{}]", prefix, index);
    GF_TRY(const auto name, needed_text(names[index], what));
    const auto rate = limits_of(rates[index]);
    // A class without a limit would fall back to the users' own, which nobody means who names it.
    if (!rate) return invalid(fmt::format("{}_rates[{}].tokens is 0; a class has a limit", prefix, index));
    if (!limits.user_classes.emplace(std::string(name), *rate).second) {
      return invalid(fmt::format("{} is \"{}\", which was there before", what, name));
    }
  }
  return success();
}
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_rate_limiter_open(const gf_rate_limiter_options* options, gf_rate_limiter** out_limiter) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_limiter, "out_limiter"));
    GF_TRY(const auto read, read_struct(options));
    GF_TRY(auto limits, rate_limits(read));
    std::shared_ptr<RateLimiter> limiter;
    if (read.redis_url == nullptr) {
      GF_TRY(limiter, MemoryRateLimiter::create(limits));
    } else {
      RedisRateLimiterOptions redis;
      redis.url = read.redis_url;
      if (read.name_space != nullptr) redis.name_space = read.name_space;
      redis.limits = std::move(limits);
      GF_TRY(redis.client, client_options(read.command_timeout_us));
      GF_TRY(limiter, RedisRateLimiter::create(std::move(redis)));
    }
    *out_limiter = rate_limiters().insert(std::move(limiter));
    return gf::success();
  });
}

gf_status gf_rate_limiter_configure(gf_rate_limiter* limiter, const gf_rate_limiter_options* options) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(rate_limiters(), limiter, "limiter"));
    GF_TRY(const auto read, read_struct(options));
    GF_TRY(const auto limits, rate_limits(read));
    return found->configure(limits);
  });
}

gf_status gf_rate_limiter_take(gf_rate_limiter* limiter, const gf_rate_question* question, gf_rate_answer* out_answer) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(rate_limiters(), limiter, "limiter"));
    if (out_answer != nullptr) {
      GF_TRYV(check_out(out_answer, first_answer_bytes, "out_answer"));
    }
    GF_TRY(const auto read,
           read_options(question, gf_rate_question GF_RATE_QUESTION_INIT, first_question_bytes, "question"));
    RateQuestion inner;
    if (read.queue != nullptr) inner.queue = read.queue;
    if (read.user != nullptr) inner.user = read.user;
    if (read.user_class != nullptr) inner.user_class = read.user_class;
    if (read.tokens != 0) inner.tokens = read.tokens;
    GF_TRY(const auto answer, found->take(inner));
    if (out_answer != nullptr) {
      gf_rate_answer out = GF_RATE_ANSWER_INIT;
      out.remaining = answer.remaining;
      out.retry_after_us = answer.retry_after_us;
      write_out(out_answer, out);
    }
    if (answer.admitted) return gf::success();
    return Error{Status::rate_limited, fmt::format("try again in {} us", answer.retry_after_us), {}};
  });
}

gf_status gf_rate_limiter_close(gf_rate_limiter* limiter) {
  return firewall([&] { return release(rate_limiters(), limiter, "limiter"); });
}

}  // extern "C"
