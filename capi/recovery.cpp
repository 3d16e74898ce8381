// The host's recovery strategies at the ABI.
#include "error/handler.hpp"

#include "base/utf8.hpp"
#include "engine/engine.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

using gf::Result;
using namespace gf::error;

namespace gf::capi {
namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_failure) == 32);
static_assert(sizeof(gf_recovery_strategy) == 40);
constexpr std::size_t first_strategy_bytes = 40;

Result<Category> known_category(std::string_view name) {
  for (auto number = static_cast<std::uint32_t>(Category::caller);; ++number) {
    const auto known = gf::name_of(static_cast<Category>(number));
    if (known == name) return static_cast<Category>(number);
    if (known == "unknown") break;
  }
  return Error{Status::unsupported, fmt::format("strategy->category is {}, which is none", shown(name)), {}};
}

Result<RecoveryStrategy> read_strategy(const gf_recovery_strategy* given) {
  if (given == nullptr) return invalid("strategy is NULL");
  GF_TRY(const auto read,
         read_options(given, gf_recovery_strategy GF_RECOVERY_STRATEGY_INIT, first_strategy_bytes, "strategy"));
  RecoveryStrategy out;
  GF_TRY(const auto name, needed_text(read.name, "strategy->name"));
  out.name = name;
  GF_TRY(const auto status, known_status(read.status, "strategy->status"));
  if (status != Status::ok) out.status = status;
  if (read.category != nullptr) {
    GF_TRY(out.category, known_category(read.category));
  }
  if (read.callback == nullptr) return invalid("strategy->callback is NULL");
  out.recover = [call = read.callback, user_data = read.user_data](const Error& error, const Failure& failure) {
    gf_failure shown_failure = GF_FAILURE_INIT;
    shown_failure.status = static_cast<std::uint32_t>(error.status);
    shown_failure.failures = failure.failures;
    shown_failure.operation = failure.operation.data();  // A literal.
    shown_failure.message = error.message.c_str();
    std::int64_t wait_us = 0;
    RecoveryStep step;
    switch (call(user_data, &shown_failure, &wait_us)) {
      case GF_RECOVERY_RETRY:
        step.what = RecoveryStep::Do::retry;
        step.wait_us = std::max<std::int64_t>(wait_us, 0);
        break;
      case GF_RECOVERY_ABORT:
        step.what = RecoveryStep::Do::abort;
        break;
      default:
        break;
    }
    return step;
  };
  return out;
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_engine_add_strategy(gf_engine* engine, const gf_recovery_strategy* strategy) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(auto read, read_strategy(strategy));
    return found->add_strategy(std::move(read));
  });
}

gf_status gf_engine_remove_strategy(gf_engine* engine, const char* name) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto text, needed_text(name, "name"));
    return found->remove_strategy(text);
  });
}

}  // extern "C"
