// Memory at the ABI: budgets, requests, reports, scopes.
#include "buffers.hpp"
#include "engine/engine.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <cstddef>
#include <cstdint>

using gf::Error;
using gf::Result;
using gf::Status;
using gf::cache::PressureLevel;
using namespace gf::capi;

namespace {

static_assert(sizeof(gf_memory_report) == 112);
static_assert(sizeof(gf_memory_scope_report) == 32);
constexpr std::size_t first_report_bytes = 112;
constexpr std::size_t first_scope_report_bytes = 32;

constexpr bool same(PressureLevel inner, std::uint32_t public_value) {
  return static_cast<std::uint32_t>(inner) == public_value;
}
static_assert(same(PressureLevel::none, GF_MEMORY_PRESSURE_NONE) &&
              same(PressureLevel::moderate, GF_MEMORY_PRESSURE_MODERATE) &&
              same(PressureLevel::high, GF_MEMORY_PRESSURE_HIGH) &&
              same(PressureLevel::critical, GF_MEMORY_PRESSURE_CRITICAL));
static_assert(gf::cache::no_limit == GF_NO_LIMIT);

}  // namespace

extern "C" {

gf_status gf_engine_set_memory_budget(gf_engine* engine, uint32_t device, uint64_t bytes) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    return found->set_memory_budget(device, bytes);
  });
}

gf_status gf_engine_request_memory(gf_engine* engine, uint32_t device, uint64_t bytes, int64_t timeout_us,
                                   uint64_t* out_given_bytes) {
  return firewall([&]() -> Result<void> {
    if (out_given_bytes != nullptr) *out_given_bytes = 0;
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto given, found->request_memory(device, bytes, timeout_us));
    if (out_given_bytes != nullptr) *out_given_bytes = given;
    return gf::success();
  });
}

gf_status gf_engine_set_pressure_events(gf_engine* engine, uint32_t wanted) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto on, truth(wanted, "wanted"));
    found->set_pressure_events(on);
    return gf::success();
  });
}

gf_status gf_engine_memory_report(gf_engine* engine, uint32_t device, gf_memory_report* out_report) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRYV(check_out(out_report, first_report_bytes, "out_report"));
    GF_TRY(const auto reading, found->memory_reading(device));
    gf_memory_report out = GF_MEMORY_REPORT_INIT;
    out.device = device;
    out.pressure = static_cast<std::uint32_t>(reading.level);
    out.total_bytes = reading.total;
    out.free_bytes = reading.free;
    out.live_bytes = reading.own_live;
    out.held_bytes = reading.own_held;
    out.peak_bytes = reading.own_peak;
    out.cached_bytes = reading.own_cached;
    out.overhead_bytes = reading.own_overhead;
    out.other_bytes = reading.other_processes;
    out.limit_bytes = reading.limit;
    out.over_bytes = reading.own_live > reading.limit ? reading.own_live - reading.limit : 0;
    out.fragmentation = reading.fragmentation;
    out.used_share = reading.share;
    write_out(out_report, out);
    return gf::success();
  });
}

gf_status gf_engine_memory_json(gf_engine* engine, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    return give_text(found->memory_json(), buffer, size);
  });
}

gf_status gf_memory_scope_begin(gf_engine* engine, uint32_t device, uint64_t growth_limit_bytes, uint64_t* out_scope) {
  return firewall([&]() -> Result<void> {
    if (out_scope == nullptr) return Error{Status::invalid_argument, "out_scope is NULL", {}};
    *out_scope = 0;
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto scope, found->begin_memory_scope(device, growth_limit_bytes));
    *out_scope = scope;
    return gf::success();
  });
}

gf_status gf_memory_scope_end(gf_engine* engine, uint64_t scope, gf_memory_scope_report* out_report) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    if (out_report != nullptr) {
      GF_TRYV(check_out(out_report, first_scope_report_bytes, "out_report"));
    }
    GF_TRY(const auto watched, found->end_memory_scope(scope));
    if (out_report == nullptr) return gf::success();
    gf_memory_scope_report out = GF_MEMORY_SCOPE_REPORT_INIT;
    out.begun_bytes = watched.begun;
    out.ended_bytes = watched.ended;
    out.peak_bytes = watched.peak;
    write_out(out_report, out);
    return gf::success();
  });
}

}  // extern "C"
