#include "cache/memory_monitor.hpp"

#include "base/platform.hpp"
#include "base/platform_wait.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

namespace gf::cache {
namespace {

/// How full: what we hold of our limit, or the device of what it may be filled with, whichever is more.
double share_of(const MemoryReading& reading, const MonitoredDevice& device) {
  double share = 0;
  if (reading.limit != no_limit) {
    share = reading.limit == 0 ? 1 : static_cast<double>(reading.own_live) / static_cast<double>(reading.limit);
  }
  if (reading.total > device.headroom_bytes) {
    const auto used = reading.total - std::min(reading.free, reading.total);
    // What the allocator keeps is as good as free.
    const auto taken = used - std::min(reading.own_cached, used);
    share = std::max(share, static_cast<double>(taken) / static_cast<double>(reading.total - device.headroom_bytes));
  }
  return share;
}

}  // namespace

GPUMemoryMonitor::GPUMemoryMonitor(std::shared_ptr<Ledger> ledger, MonitorOptions options)
    : ledger_(std::move(ledger)),
      options_(std::move(options)),
      clock_(options_.clock != nullptr ? *options_.clock : system_clock()) {
  for (const auto& device : options_.devices) {
    watched_.push_back(std::make_unique<Watched>(Watched{device, PressureGauge(options_.rules), 0, {}}));
  }
}

Result<std::unique_ptr<GPUMemoryMonitor>> GPUMemoryMonitor::create(std::shared_ptr<Ledger> ledger,
                                                                   MonitorOptions options) {
  std::uint64_t seen = 0;
  for (const auto& device : options.devices) {
    const auto invalid = [&](std::string_view what) {
      return Error{Status::invalid_argument, fmt::format("device {} {}", device.device, what), {}};
    };
    if (device.device >= Ledger::max_devices) return invalid("is none of the ledger's");
    if ((seen >> device.device & 1) != 0) return invalid("is named twice");
    seen |= std::uint64_t{1} << device.device;
    if (!device.source) return invalid("has no source");
    if (device.index >= device.source->device_count()) return invalid("is none of its source's");
    if (!(device.fraction > 0 && device.fraction <= 1)) {
      return invalid(fmt::format("has the fraction {}; it must be above 0, and at most 1", device.fraction));
    }
  }
  std::unique_ptr<GPUMemoryMonitor> monitor(new GPUMemoryMonitor(std::move(ledger), std::move(options)));
  try {
    monitor->thread_ = start_thread("gf-memory", [self = monitor.get()] { self->run(); });
  } catch (const std::system_error& error) {
    return Error{Status::io_error, fmt::format("a thread could not be started: {}", error.what()), {}};
  }
  return monitor;
}

GPUMemoryMonitor::~GPUMemoryMonitor() {
  stop_ = true;
  ledger_->ring();
  if (thread_.joinable()) thread_.join();
  for (const auto& watched : watched_) {
    ledger_->set_outside(watched->is.device, no_limit);
    ledger_->set_configured(watched->is.device, no_limit);
  }
}

void GPUMemoryMonitor::job_began() noexcept {
  if (jobs_.fetch_add(1) != 0) return;
  try {
    for (const auto& watched : watched_) {
      auto looked = read(watched->is);
      if (looked) set_limits(watched->is, looked.value());
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): without memory for an error's text; the thread looks as well.
  }
  ledger_->ring();
}

void GPUMemoryMonitor::set_limits(const MonitoredDevice& device, MemoryReading& reading) {
  // What is free, what we hold and what the allocator keeps for us, less what is to stay free.
  const auto reach = reading.free + reading.own_held + reading.own_cached;
  ledger_->set_outside(device.device, reach - std::min(device.headroom_bytes, reach));
  if (device.fraction < 1) {
    ledger_->set_configured(device.device,
                            static_cast<std::uint64_t>(static_cast<double>(reading.total) * device.fraction));
  }
  reading.limit = ledger_->account(device.device).limit;
}

void GPUMemoryMonitor::job_ended() noexcept { jobs_.fetch_sub(1); }

Result<MemoryReading> GPUMemoryMonitor::read(const MonitoredDevice& device) const {
  MemoryReading out;
  DeviceMemory outside;
  LedgerAccount account;
  // What is taken between the two looks would count twice, or not at all; then it is looked again.
  for (int tries = 0; tries < 3; ++tries) {
    account = ledger_->account(device.device);
    GF_TRY(outside, device.source->read(device.index));
    if (ledger_->total(device.device) == account.total) break;
  }
  for (const auto bytes : account.committed) out.own_held += bytes;
  if (device.allocator) {
    if (const auto keeps = device.allocator()) {
      out.own_cached = keeps->cached;
      if (keeps->cached > 0) {
        out.fragmentation = 1 - static_cast<double>(std::min(keeps->largest_free_block, keeps->cached)) /
                                    static_cast<double>(keeps->cached);
      }
    }
  }
  out.at_us = clock_.now_us();
  out.total = outside.total;
  out.free = std::min(outside.free, outside.total);
  out.own_live = account.total;
  out.own_peak = account.peak;
  const auto used = out.total - out.free;
  const auto counted = out.own_held + out.own_cached;
  if (outside.used_by_us) {
    out.own_overhead = *outside.used_by_us - std::min(counted, *outside.used_by_us);
    out.other_processes = used - std::min(used, std::max(*outside.used_by_us, counted));
  } else {
    out.other_processes = used - std::min(used, counted);
  }
  return out;
}

Result<MemoryReading> GPUMemoryMonitor::look(std::uint32_t device) const {
  for (const auto& watched : watched_) {
    if (watched->is.device != device) continue;
    GF_TRY(auto out, read(watched->is));
    out.limit = ledger_->account(device).limit;
    out.share = share_of(out, watched->is);
    const std::lock_guard lock(mutex_);
    out.level = watched->reading.level;
    return out;
  }
  return Error{Status::not_found, fmt::format("device {} is not watched", device), {}};
}

std::optional<MemoryReading> GPUMemoryMonitor::reading(std::uint32_t device) const {
  const std::lock_guard lock(mutex_);
  for (const auto& watched : watched_) {
    if (watched->is.device == device) return watched->reading;
  }
  return std::nullopt;
}

std::vector<std::uint32_t> GPUMemoryMonitor::devices() const {
  std::vector<std::uint32_t> out;
  for (const auto& watched : watched_) out.push_back(watched->is.device);
  return out;
}

MonitorStatistics GPUMemoryMonitor::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

std::uint64_t GPUMemoryMonitor::give_back(std::uint32_t device, std::uint64_t bytes) {
  const auto given = ledger_->reclaim(device, bytes);
  const std::lock_guard lock(mutex_);
  statistics_.reclaimed_bytes += given;
  return given;
}

std::optional<std::uint64_t> GPUMemoryMonitor::request(std::uint32_t device, std::uint64_t bytes,
                                                       std::int64_t timeout_us) {
  const auto asked = std::make_shared<Request>(Request{device, bytes, {}});
  // A hundred days are as good as any longer time, and cannot overflow the clock.
  constexpr std::int64_t longest_us = std::int64_t{100} * 24 * 3600 * 1'000'000;
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::microseconds(std::clamp<std::int64_t>(timeout_us, 0, longest_us));
  std::unique_lock lock(mutex_);
  requests_.push_back(asked);
  ledger_->ring();
  served_.wait_until(lock, deadline, [&] { return asked->given.has_value(); });
  return asked->given;
}

void GPUMemoryMonitor::serve() {
  for (;;) {
    std::shared_ptr<Request> asked;
    {
      const std::lock_guard lock(mutex_);
      if (requests_.empty()) return;
      asked = requests_.front();
      requests_.pop_front();
    }
    std::uint64_t given = 0;
    try {
      given = give_back(asked->device, asked->bytes);
    } catch (...) {  // Without memory for the list of those who could give: nothing was given.
    }
    const std::lock_guard lock(mutex_);
    asked->given = given;
    served_.notify_all();
  }
}

void GPUMemoryMonitor::sample(Watched& watched, std::int64_t now_us) {
  const auto& device = watched.is;
  auto looked = read(device);
  watched.due_us = now_us + watched.gauge.period_us();
  if (!looked) {
    const std::lock_guard lock(mutex_);
    ++statistics_.samples;
    ++statistics_.failed_samples;
    return;
  }
  auto& reading = looked.value();
  set_limits(device, reading);
  reading.share = share_of(reading, device);
  const auto before = watched.gauge.level();
  const auto changed = watched.gauge.update(reading.share, now_us);
  reading.level = watched.gauge.level();
  watched.due_us = now_us + watched.gauge.period_us();
  {
    const std::lock_guard lock(mutex_);
    watched.reading = reading;
    ++statistics_.samples;
    if (changed) ++statistics_.events;
  }
  std::uint64_t reclaimed = 0;
  if (const auto excess = ledger_->excess(device.device); excess > 0) reclaimed = give_back(device.device, excess);
  // From high on the outside needs room: idle bytes go until moderate is left.
  if (changed && *changed > before && *changed >= PressureLevel::high) {
    const auto& rules = options_.rules;
    const auto aim = rules.rise[0] - rules.fall_margin;
    const auto whole = static_cast<double>(std::max(reading.total, reading.own_live));
    const auto wanted = static_cast<std::uint64_t>(std::clamp((reading.share - aim) * whole, 0.0, whole));
    if (wanted > reclaimed) reclaimed += give_back(device.device, wanted - reclaimed);
  }
  if (!changed || !options_.on_pressure) return;
  try {
    options_.on_pressure({device.device, *changed, before, reading, reclaimed});
  } catch (...) {  // NOLINT(bugprone-empty-catch): it is a listener's own affair.
  }
}

void GPUMemoryMonitor::relieve(std::int64_t now_us) {
  bool over = false;
  for (const auto& watched : watched_) {
    auto excess = ledger_->excess(watched->is.device);
    if (excess > 0) {
      (void)give_back(watched->is.device, excess);
      excess = ledger_->excess(watched->is.device);
      over = over || excess > 0;
      if (!over_since_us_) over_since_us_ = now_us;
    }
  }
  if (over || !over_since_us_) return;
  const auto lasted = std::max<std::int64_t>(clock_.now_us() - *over_since_us_, 0);
  over_since_us_.reset();
  const std::lock_guard lock(mutex_);
  statistics_.over_limit_us += lasted;
  statistics_.longest_over_us = std::max(statistics_.longest_over_us, lasted);
}

void GPUMemoryMonitor::run() {
  while (!stop_) {
    // Read before all that is looked at below: what changes meanwhile wakes it again.
    const auto seen = ledger_->news();
    std::int64_t wait_us = -1;
    try {
      const auto now_us = clock_.now_us();
      serve();
      relieve(now_us);
      if (jobs_ != 0) {
        for (const auto& watched : watched_) {
          if (watched->due_us <= now_us) sample(*watched, now_us);
        }
        relieve(now_us);
        wait_us = INT64_MAX;
        const auto then_us = clock_.now_us();
        for (const auto& watched : watched_) wait_us = std::min(wait_us, watched->due_us - then_us);
        wait_us = watched_.empty() ? -1 : std::max<std::int64_t>(wait_us, 0);
      }
    } catch (...) {  // Without memory for a look; the next one is due all the same.
      wait_us = options_.rules.far_period_us;
    }
    {
      const std::lock_guard lock(mutex_);
      ++statistics_.wake_ups;
      statistics_.cpu_us = thread_cpu_us();
    }
    if (stop_) break;
    if (wait_us != 0) ledger_->wait_for_news(seen, wait_us);
  }
}

}  // namespace gf::cache
