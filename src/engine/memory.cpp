// What the host says and asks about memory: budgets, requests, reports, scopes.
#include "engine/state.hpp"

#include "base/json_text.hpp"

#include <fmt/format.h>

#include <utility>

namespace gf::engine {
namespace {

constexpr std::uint32_t devices = 1;  // The CPU.

Result<void> check_device(std::uint32_t device) {
  if (device < devices) return success();
  return Error{Status::not_found, fmt::format("device {} is not there; device 0 is the CPU", device), {}};
}

void write_limit(JsonText& out, std::string_view name, std::uint64_t bytes) {
  out.key(name);
  if (bytes == cache::no_limit) {
    out.null();
  } else {
    out.number(bytes);
  }
}

void write_kinds(JsonText& out, const std::array<std::uint64_t, cache::memory_kinds>& bytes) {
  for (std::size_t kind = 0; kind < bytes.size(); ++kind) {
    out.member(cache::name_of(static_cast<cache::MemoryKind>(kind)), bytes[kind]);
  }
}

void write_owner(JsonText& out, const cache::OwnerAccount& owner) {
  out.begin_object().member("name", owner.name).member("total_bytes", owner.total).member("peak_bytes", owner.peak);
  out.key("bytes").begin_object();
  write_kinds(out, owner.bytes);
  out.end_object().key("stages").begin_object();
  for (std::size_t stage = 1; stage < cache::memory_stages; ++stage) {
    out.key(cache::name_of(static_cast<cache::MemoryStage>(stage))).begin_object();
    out.member("bytes", owner.by_stage[stage]).member("peak_bytes", owner.stage_peak[stage]).end_object();
  }
  out.end_object().end_object();
}

void write_cache(JsonText& out, const cache::ModelCacheStatistics& numbers) {
  out.begin_object().member("entries", numbers.entries).member("bytes", numbers.bytes);
  out.member("in_use", numbers.in_use).member("idle_bytes", numbers.idle_bytes).member("pinned", numbers.pinned);
  out.member("hits", numbers.hits).member("loads", numbers.loads).member("failed_loads", numbers.failed_loads);
  out.member("waits", numbers.waits).member("evictions", numbers.evictions);
  out.member("evicted_bytes", numbers.evicted_bytes).member("refusals", numbers.refusals);
  out.member("load_us", numbers.load_us).end_object();
}

void write_monitor(JsonText& out, const cache::MonitorStatistics& numbers) {
  out.begin_object().member("samples", numbers.samples).member("failed_samples", numbers.failed_samples);
  out.member("wake_ups", numbers.wake_ups).member("events", numbers.events);
  out.member("reclaimed_bytes", numbers.reclaimed_bytes).member("cpu_us", numbers.cpu_us);
  out.member("over_limit_us", numbers.over_limit_us).member("longest_over_us", numbers.longest_over_us).end_object();
}

void write_ladder(JsonText& out, const cache::LadderStatistics& numbers) {
  out.begin_object().member("climbs", numbers.climbs).member("rescued", numbers.rescued);
  out.member("exhausted", numbers.exhausted).member("begun_with_plan", numbers.begun_with_plan);
  out.key("rungs").begin_object();
  for (const auto& [name, rung] : numbers.rungs) {
    out.key(name).begin_object().member("tried", rung.tried).member("helped", rung.helped);
    out.member("rescued", rung.rescued).end_object();
  }
  out.end_object().end_object();
}

}  // namespace

Result<std::shared_ptr<cache::GPUMemoryMonitor>> Engine::monitor() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->closing) return Error{Status::invalid_handle, "the engine is closed", {}};
  return state_->monitor;
}

Result<void> Engine::set_memory_budget(std::uint32_t device, std::uint64_t bytes) {
  GF_TRYV(check_device(device));
  state_->ledger.set_budget(device, bytes);
  return success();
}

Result<std::uint64_t> Engine::request_memory(std::uint32_t device, std::uint64_t bytes, std::int64_t timeout_us) {
  GF_TRYV(check_device(device));
  if (timeout_us < 0) {
    return Error{Status::invalid_argument, fmt::format("timeout_us is {}; it must be at least 0", timeout_us), {}};
  }
  GF_TRY(const auto watching, monitor());
  const auto given = watching->request(device, bytes, timeout_us);
  if (given) return *given;
  return Error{Status::timed_out, fmt::format("nothing was given back within {} us", timeout_us), {}};
}

void Engine::set_pressure_events(bool wanted) { state_->pressure_events = wanted; }

Result<cache::MemoryReading> Engine::memory_reading(std::uint32_t device) const {
  GF_TRYV(check_device(device));
  GF_TRY(const auto watching, monitor());
  return watching->look(device);
}

std::string Engine::memory_json() const {
  auto& state = *state_;
  JsonText out;
  out.begin_object().key("devices").begin_array();
  for (std::uint32_t device = 0; device < devices; ++device) {
    const auto account = state.ledger.account(device);
    out.begin_object().member("device", device).member("name", "cpu");
    const auto reading = memory_reading(device);
    out.key("outside");
    if (reading) {
      const auto& is = reading.value();
      out.begin_object().member("total_bytes", is.total).member("free_bytes", is.free);
      out.member("other_bytes", is.other_processes).member("own_overhead_bytes", is.own_overhead);
      out.member("own_cached_bytes", is.own_cached).member("fragmentation", is.fragmentation);
      out.member("share", is.share).member("pressure", cache::name_of(is.level)).end_object();
    } else {
      out.null();
    }
    out.member("live_bytes", account.total).member("peak_bytes", account.peak).member("refusals", account.refusals);
    out.member("over_bytes", state.ledger.excess(device));
    write_limit(out, "limit_bytes", account.limit);
    write_limit(out, "budget_bytes", account.budget);
    write_limit(out, "configured_bytes", account.configured);
    write_limit(out, "outside_bytes", account.outside);
    out.key("committed_bytes").begin_object();
    write_kinds(out, account.committed);
    out.end_object().key("reserved_bytes").begin_object();
    write_kinds(out, account.reserved);
    out.end_object().key("models").begin_array();
    for (const auto& owner : state.ledger.owners(device)) write_owner(out, owner);
    out.end_array().end_object();
  }
  out.end_array().key("cache");
  write_cache(out, state.model_cache->glance());
  out.key("monitor");
  if (const auto watching = monitor()) {
    write_monitor(out, watching.value()->statistics());
  } else {
    out.null();
  }
  out.key("ladder");
  write_ladder(out, state.ladder->statistics());
  out.end_object();
  return std::move(out).str();
}

Result<std::uint64_t> Engine::begin_memory_scope(std::uint32_t device, std::uint64_t growth_limit) {
  GF_TRYV(check_device(device));
  const auto watch = state_->ledger.begin_watch(device, growth_limit == 0 ? cache::no_limit : growth_limit);
  if (!watch) {
    return Error{Status::queue_full,
                 fmt::format("{} memory scopes are open on device {} already", cache::Ledger::max_watches, device),
                 {}};
  }
  // Above 0, so that a number that was never given is told.
  return (std::uint64_t{device} + 1) << 32 | *watch;
}

Result<cache::Ledger::Watched> Engine::end_memory_scope(std::uint64_t scope) {
  const auto device = (scope >> 32) - 1;
  if (device < devices) {
    const auto watched =
        state_->ledger.end_watch(static_cast<std::uint32_t>(device), static_cast<std::uint32_t>(scope));
    if (watched) return *watched;
  }
  return Error{Status::wrong_state, fmt::format("the memory scope {} was ended, or never begun", scope), {}};
}

}  // namespace gf::engine
