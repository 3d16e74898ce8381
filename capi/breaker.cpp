// Circuit breakers at the ABI.
#include "error/breaker.hpp"

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "buffers.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::error;

namespace gf::capi {

BreakerTable& breakers() {
  static auto& table = *new BreakerTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_breaker_options) == 96);
static_assert(sizeof(gf_breaker_permit) == 24);
static_assert(sizeof(gf_breaker_info) == 80);
constexpr std::size_t first_options_bytes = 96;
constexpr std::size_t first_info_bytes = 80;

static_assert(same(BreakerState::closed, GF_BREAKER_CLOSED) && same(BreakerState::open, GF_BREAKER_OPEN) &&
              same(BreakerState::half_open, GF_BREAKER_HALF_OPEN) &&
              same(BreakerState::forced_open, GF_BREAKER_FORCED_OPEN) &&
              same(BreakerState::forced_closed, GF_BREAKER_FORCED_CLOSED) &&
              same(BreakerState::disabled, GF_BREAKER_DISABLED));
static_assert(same(BreakerOptions::Window::time, GF_BREAKER_WINDOW_TIME) &&
              same(BreakerOptions::Window::count, GF_BREAKER_WINDOW_COUNT));

template <class T>
void set_if_given(T& option, T given) {
  if (given != 0) option = given;
}

Result<BreakerOptions> read_breaker_options(const gf_breaker_options* given) {
  GF_TRY(const auto read,
         read_options(given, gf_breaker_options GF_BREAKER_OPTIONS_INIT, first_options_bytes, "options"));
  BreakerOptions options;
  options.jitter_seed = random_bits();
  GF_TRY(options.window, known(read.window, BreakerOptions::Window::count, "options->window"));
  set_if_given(options.window_calls, read.window_calls);
  set_if_given(options.minimum_calls, read.minimum_calls);
  set_if_given(options.failure_rate, read.failure_rate);
  set_if_given(options.slow_rate, read.slow_rate);
  set_if_given(options.window_us, read.window_us);
  set_if_given(options.slow_call_us, read.slow_call_us);
  set_if_given(options.open_us, read.open_us);
  // A longer open time than the default's longest says that longer ones are meant.
  if (read.max_open_us == 0) options.max_open_us = std::max(options.max_open_us, options.open_us);
  set_if_given(options.max_open_us, read.max_open_us);
  set_if_given(options.probe_lease_us, read.probe_lease_us);
  set_if_given(options.failures_in_a_row, read.failures_in_a_row);
  if (read.failures_in_a_row == std::numeric_limits<std::uint32_t>::max()) options.failures_in_a_row = 0;
  set_if_given(options.probes, read.probes);
  if (read.probes_to_close == 0) options.probes_to_close = std::min(options.probes_to_close, options.probes);
  set_if_given(options.probes_to_close, read.probes_to_close);
  if (read.ignored_count != 0 && read.ignored == nullptr) {
    return invalid(fmt::format("options->ignored is NULL, and options->ignored_count {}", read.ignored_count));
  }
  for (std::uint32_t index = 0; index < read.ignored_count; ++index) {
    GF_TRY(const auto status, known_status(read.ignored[index], fmt::format("options->ignored[{}]", index)));
    options.verdicts.not_counted.push_back(status);
  }
  return options;
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_breaker_open(const gf_breaker_options* options, gf_breaker** out_breaker) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_breaker, "out_breaker"));
    GF_TRY(const auto read, read_breaker_options(options));
    GF_TRY(auto breaker, CircuitBreaker::create(read));
    *out_breaker = breakers().insert(std::move(breaker));
    return gf::success();
  });
}

gf_status gf_breaker_allow(gf_breaker* breaker, gf_breaker_permit* out_permit, int64_t* out_retry_after_us) {
  return firewall([&]() -> Result<void> {
    if (out_permit == nullptr) return invalid("out_permit is NULL");
    *out_permit = {0, 0, 0, 0};
    if (out_retry_after_us != nullptr) *out_retry_after_us = 0;
    GF_TRY(const auto found, find(breakers(), breaker, "breaker"));
    auto permit = found->allow(gf::system_clock().now_us());
    if (!permit) {
      if (out_retry_after_us != nullptr) *out_retry_after_us = permit.retry_after_us();
      Error refused{
          Status::breaker_open, fmt::format("the breaker is open; try again in {} us", permit.retry_after_us()), {}};
      refused.retry_after_us = permit.retry_after_us();
      return refused;
    }
    const auto token = permit.detach();
    *out_permit = {token.generation, token.probe, token.lease, token.begun_us};
    return gf::success();
  });
}

gf_status gf_breaker_report(gf_breaker* breaker, const gf_breaker_permit* permit, uint32_t status,
                            int64_t retry_after_us) {
  return firewall([&]() -> Result<void> {
    if (permit == nullptr) return invalid("permit is NULL");
    GF_TRY(const auto found, find(breakers(), breaker, "breaker"));
    GF_TRY(const auto ended, known_status(status, "status"));
    const auto now_us = gf::system_clock().now_us();
    if ((permit->probe != CircuitBreaker::no_probe && permit->probe >= CircuitBreaker::max_probes) ||
        permit->begun_us < 0 || permit->begun_us > now_us) {
      return invalid("permit is none that a breaker gave");
    }
    if (retry_after_us < 0) {
      return invalid(fmt::format("retry_after_us is {}; it must not be negative", retry_after_us));
    }
    const auto verdict = ended == Status::ok ? Verdict::success : verdict_of(ended, found->options().verdicts);
    found->report({permit->generation, permit->probe, permit->lease, permit->begun_us}, verdict, now_us,
                  retry_after_us);
    return gf::success();
  });
}

gf_status gf_breaker_force(gf_breaker* breaker, uint32_t state) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(breakers(), breaker, "breaker"));
    const auto now_us = gf::system_clock().now_us();
    switch (state) {
      case GF_BREAKER_CLOSED:
        found->reset(now_us);
        return gf::success();
      case GF_BREAKER_FORCED_OPEN:
        found->force_open(now_us);
        return gf::success();
      case GF_BREAKER_FORCED_CLOSED:
        found->force_closed(now_us);
        return gf::success();
      case GF_BREAKER_DISABLED:
        found->disable(now_us);
        return gf::success();
      default:
        return Error{
            Status::unsupported,
            fmt::format("state is {}; it must be closed (0), forced open (3), forced closed (4) or disabled (5)",
                        state),
            {}};
    }
  });
}

gf_status gf_breaker_describe(gf_breaker* breaker, gf_breaker_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(breakers(), breaker, "breaker"));
    GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    const auto now = found->report(gf::system_clock().now_us());
    gf_breaker_info out = GF_BREAKER_INFO_INIT;
    out.state = static_cast<std::uint32_t>(now.state);
    out.open_for_us = now.open_for_us;
    out.window_calls = now.window_calls;
    out.window_failures = now.window_failures;
    out.window_slow = now.window_slow;
    out.successes = now.successes;
    out.failures = now.failures;
    out.not_counted = now.not_counted;
    out.refused = now.refused;
    out.trips = now.trips;
    write_out(out_info, out);
    return gf::success();
  });
}

gf_status gf_breaker_json(gf_breaker* breaker, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(breakers(), breaker, "breaker"));
    return give_text(found->report_json(gf::system_clock().now_us()), buffer, size);
  });
}

gf_status gf_breaker_close(gf_breaker* breaker) {
  return firewall([&] { return release(breakers(), breaker, "breaker"); });
}

}  // extern "C"
