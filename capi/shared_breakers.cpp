// Shared circuit breakers at the ABI.
#include "error/shared_breakers.hpp"

#include "base/json_text.hpp"
#include "buffers.hpp"
#include "firewall.hpp"
#include "host_log.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

using gf::Error;
using gf::JsonText;
using gf::LogLevel;
using gf::Result;
using gf::Status;
using namespace gf::error;

namespace gf::capi {

SharedBreakersTable& shared_breakers() {
  static auto& table = *new SharedBreakersTable;
  return table;
}

namespace {

static_assert(sizeof(gf_shared_breakers_options) == 88);
constexpr std::size_t first_options_bytes = 88;

template <class T>
void set_if_given(T& option, T given) {
  if (given != 0) option = given;
}

Result<void> check_timeout(std::int64_t timeout_us) {
  if (timeout_us >= 0) return success();
  return invalid(fmt::format("timeout_us is {}; it must not be negative", timeout_us));
}

Result<SharedBreakersOptions> read_shared_options(const gf_shared_breakers_options* given) {
  if (given == nullptr) return invalid("options is NULL");
  GF_TRY(const auto read, read_options(given, gf_shared_breakers_options GF_SHARED_BREAKERS_OPTIONS_INIT,
                                       first_options_bytes, "options"));
  GF_TRY(const auto url, needed_text(read.redis_url, "options->redis_url"));
  if (read.reserved != 0) return unknown_value("options->reserved", read.reserved, 0, 0);
  GF_TRY(const auto level, known(read.log_level, LogLevel::debug, "options->log_level"));
  SharedBreakersOptions options;
  options.url = url;
  if (read.name_space != nullptr) options.name_space = read.name_space;
  set_if_given(options.quorum, read.quorum);
  set_if_given(options.vote_us, read.vote_us);
  set_if_given(options.command_timeout_us, read.command_timeout_us);
  set_if_given(options.stale_us, read.stale_us);
  set_if_given(options.flush_us, read.flush_us);
  set_if_given(options.look_every_us, read.look_every_us);
  if (read.log_callback != nullptr) {
    options.log = std::make_shared<HostLog>(read.log_callback, read.log_user_data, level);
  }
  return options;
}

void write_link(JsonText& out, const SharedBreakersStatistics& now) {
  out.key("link").begin_object().member("linked", now.linked).key("heard_ago_us");
  if (now.heard_ago_us < 0) {
    out.null();
  } else {
    out.number(now.heard_ago_us);
  }
  out.member("turns", now.turns).member("commands", now.commands).member("failures", now.failures);
  out.member("lost_outcomes", now.lost_outcomes).end_object();
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_shared_breakers_open(const gf_shared_breakers_options* options, gf_shared_breakers** out_shared) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_shared, "out_shared"));
    GF_TRY(const auto read, read_shared_options(options));
    GF_TRY(auto opened, SharedBreakers::open(read));
    *out_shared = shared_breakers().insert(std::move(opened));
    return gf::success();
  });
}

gf_status gf_shared_breakers_share(gf_shared_breakers* shared, gf_breaker* breaker, const char* name,
                                   int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(shared_breakers(), shared, "shared"));
    GF_TRY(const auto of, find(breakers(), breaker, "breaker"));
    GF_TRY(const auto text, needed_text(name, "name"));
    GF_TRYV(check_timeout(timeout_us));
    return found->share(of, text, timeout_us);
  });
}

gf_status gf_shared_breakers_force(gf_shared_breakers* shared, const char* name, uint32_t state, int64_t expires_us,
                                   const char* by) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(shared_breakers(), shared, "shared"));
    GF_TRY(const auto text, needed_text(name, "name"));
    GF_TRY(const auto who, needed_text(by, "by"));
    switch (state) {
      case GF_BREAKER_CLOSED:
      case GF_BREAKER_FORCED_OPEN:
      case GF_BREAKER_FORCED_CLOSED:
      case GF_BREAKER_DISABLED:
        return found->force(text, static_cast<BreakerState>(state), expires_us, who);
      default:
        return Error{
            Status::unsupported,
            fmt::format("state is {}; it must be closed (0), forced open (3), forced closed (4) or disabled (5)",
                        state),
            {}};
    }
  });
}

gf_status gf_shared_breakers_json(gf_shared_breakers* shared, const char* name, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(shared_breakers(), shared, "shared"));
    JsonText out;
    out.begin_object();
    if (name != nullptr) {
      GF_TRY(const auto now, found->look(name));
      out.member("name", std::string_view(name)).member("state", name_of(now.state));
      out.member("generation", now.generation).member("left_us", now.left_us).member("votes", now.votes);
      out.member("probing", now.probing).text_or_null("reason", now.reason).text_or_null("by", now.by);
      out.member("successes", now.successes).member("failures", now.failures);
      out.member("not_counted", now.not_counted).member("refused", now.refused);
    }
    write_link(out, found->statistics());
    out.end_object();
    return give_text(out.str(), buffer, size);
  });
}

gf_status gf_shared_breakers_flush(gf_shared_breakers* shared, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(shared_breakers(), shared, "shared"));
    GF_TRYV(check_timeout(timeout_us));
    return found->flush(timeout_us);
  });
}

gf_status gf_shared_breakers_close(gf_shared_breakers* shared, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    if (shared == nullptr) return gf::success();
    // With the wrong handle said first; a timeout that is none ends nothing.
    if (!shared_breakers().find(shared)) return no_handle(shared, "shared");
    GF_TRYV(check_timeout(timeout_us));
    const auto found = shared_breakers().take(shared);
    if (!found) return no_handle(shared, "shared");
    found->close(timeout_us);
    return gf::success();
  });
}

}  // extern "C"
