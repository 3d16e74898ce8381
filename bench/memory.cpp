// gameforge_bench_memory: what the memory room costs and how well it chooses.
//
//   gameforge_bench_memory eviction [SEEDS [REQUESTS]]   replays traces against LRU, LFU, GDSF and a clairvoyant
//   gameforge_bench_memory monitor NVML [ROUNDS]         reaction times and processor share, on the fake NVML's path
//   gameforge_bench_memory cache [ROUNDS]                what a use, a load and an eviction cost beside the work itself
//
// Prints Markdown tables.
#include "bench/traces.hpp"
#include "cache/eviction.hpp"
#include "cache/host_source.hpp"
#include "cache/ledger.hpp"
#include "cache/memory_monitor.hpp"
#include "cache/model_cache.hpp"
#include "cache/nvml_source.hpp"
#include "fake_nvml/fake_cards.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace gf::cache;
using gf::bench::Trace;
using Clock = std::chrono::steady_clock;

std::int64_t since_us(Clock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count();
}

double at_share(std::vector<std::int64_t> times, double share) {
  std::sort(times.begin(), times.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(times.size() - 1) + 0.5);
  return static_cast<double>(times[at]) / 1000;
}

// ---- Eviction.

/// How a policy is replayed: it is told of each use and each eviction, and gives the value of what is kept.
struct Rival {
  virtual ~Rival() = default;
  virtual void used(std::size_t model, std::size_t now) = 0;
  virtual void evicted(std::size_t) {}
  virtual double value(std::size_t model, std::size_t now) = 0;
};

/// Evicts the least worth until there is room: what LRU, LFU and GDSF are in their papers.
double replay(const Trace& trace, Rival& rival) {
  std::set<std::size_t> there;
  std::uint64_t bytes = 0;
  double loaded_s = 0;
  for (std::size_t now = 0; now < trace.requests.size(); ++now) {
    const auto model = trace.requests[now];
    if (!there.contains(model)) {
      loaded_s += trace.models[model].load_s;
      while (bytes + trace.models[model].bytes > trace.capacity) {
        const auto gone = *std::min_element(there.begin(), there.end(),
                                            [&](auto a, auto b) { return rival.value(a, now) < rival.value(b, now); });
        there.erase(gone);
        bytes -= trace.models[gone].bytes;
        rival.evicted(gone);
      }
      there.insert(model);
      bytes += trace.models[model].bytes;
    }
    rival.used(model, now);
  }
  return loaded_s;
}

struct Lru final : Rival {
  std::map<std::size_t, std::size_t> last;
  void used(std::size_t model, std::size_t now) override { last[model] = now; }
  double value(std::size_t model, std::size_t) override { return static_cast<double>(last[model]); }
};

/// Uses since it was loaded; ties go by the last use.
struct Lfu final : Rival {
  std::map<std::size_t, std::pair<double, std::size_t>> uses;
  void used(std::size_t model, std::size_t now) override { uses[model] = {uses[model].first + 1, now}; }
  void evicted(std::size_t model) override { uses.erase(model); }
  double value(std::size_t model, std::size_t) override {
    return uses[model].first + static_cast<double>(uses[model].second) * 1e-9;
  }
};

/// Greedy-Dual-Size with Frequency: Cherkasova, HP Labs report HPL-98-69 (1998).
struct Gdsf final : Rival {
  explicit Gdsf(const Trace& of) : trace(of) {}
  const Trace& trace;
  double clock = 0;
  std::map<std::size_t, std::pair<double, double>> uses_and_value;
  void used(std::size_t model, std::size_t) override {
    auto& [uses, kept] = uses_and_value[model];
    uses += 1;
    kept = clock + uses * trace.models[model].load_s / (static_cast<double>(trace.models[model].bytes) / 1e9);
  }
  void evicted(std::size_t model) override {
    clock = uses_and_value[model].second;
    uses_and_value.erase(model);
  }
  double value(std::size_t model, std::size_t) override { return uses_and_value[model].second; }
};

/// Knows the future. With sizes and costs the best choice is a hard problem, so that this is the best of three greedy
/// ones (farthest next use; load time by distance; the same by byte): a bound for all practical ends, not a proven one.
struct Clairvoyant final : Rival {
  Clairvoyant(const Trace& of, int how) : trace(of), mode(how) {
    for (std::size_t at = 0; at < trace.requests.size(); ++at) uses[trace.requests[at]].push_back(at);
  }
  const Trace& trace;
  const int mode;
  std::map<std::size_t, std::vector<std::size_t>> uses;
  void used(std::size_t, std::size_t) override {}
  double value(std::size_t model, std::size_t now) override {
    const auto& at = uses[model];
    const auto next = std::upper_bound(at.begin(), at.end(), now);
    const double distance = next == at.end() ? 1e18 : static_cast<double>(*next - now);
    if (mode == 0) return -distance;
    const auto& is = trace.models[model];
    return mode == 1 ? is.load_s / distance : is.load_s / static_cast<double>(is.bytes) / distance;
  }
};

int eviction(std::uint64_t seeds, std::size_t requests) {
  struct Row {
    double lru = 0;
    double lfu = 0;
    double gdsf = 0;
    double ours = 0;
    double bound = 0;
    double worst = 0;
  };
  std::vector<std::string> names;
  std::map<std::string, Row> rows;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    for (const auto& trace : gf::bench::traces(seed, requests)) {
      if (seed == 1) names.push_back(trace.name);
      auto& row = rows[trace.name];
      Lru lru;
      Lfu lfu;
      Gdsf gdsf(trace);
      const auto by_lru = replay(trace, lru);
      const auto by_us = replay_policy(trace, EvictionPolicy()).loaded_s;
      row.lru += by_lru;
      row.lfu += replay(trace, lfu);
      row.gdsf += replay(trace, gdsf);
      row.ours += by_us;
      row.worst = std::max(row.worst, by_us / by_lru);
      double bound = std::numeric_limits<double>::max();
      for (int mode = 0; mode < 3; ++mode) {
        Clairvoyant knows(trace, mode);
        bound = std::min(bound, replay(trace, knows));
      }
      row.bound += bound;
    }
  }
  fmt::print("Reload seconds, as a share of LRU's; {} seeds of {} requests each\n\n", seeds, requests);
  fmt::print(
      "| trace | LRU, s | LFU | GDSF | ours | ours, worst seed | clairvoyant |\n|---|---:|---:|---:|---:|---:|---:|\n");
  Row sum;
  const auto print = [](std::string_view name, const Row& row) {
    fmt::print("| {} | {:.0f} | {:.2f} | {:.2f} | {:.3f} | {:.3f} | {:.2f} |\n", name, row.lru, row.lfu / row.lru,
               row.gdsf / row.lru, row.ours / row.lru, row.worst, row.bound / row.lru);
  };
  for (const auto& name : names) {
    const auto& row = rows[name];
    print(name, row);
    sum.lru += row.lru;
    sum.lfu += row.lfu;
    sum.gdsf += row.gdsf;
    sum.ours += row.ours;
    sum.bound += row.bound;
    sum.worst = std::max(sum.worst, row.worst);
  }
  print("all", sum);
  fmt::print("\n");
  return 0;
}

// ---- Monitor.

int monitor(const std::string& library, int rounds) {
  constexpr std::uint64_t mib = std::uint64_t{1} << 20;
  gf::test::FakeCards cards(1);
  cards.card(0).total = 1000 * mib;
  const auto ledger = std::make_shared<Ledger>();
  auto source = NvmlSource::open(library);
  if (!source) {
    fmt::print(stderr, "{}\n", source.error().message);
    return 1;
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<PressureLevel, Clock::time_point>> events;
  MonitorOptions options;
  options.devices.push_back({1, source.value()});
  options.rules.fall_hold_us = 0;  // So that the next round can begin at once.
  options.on_pressure = [&](const PressureEvent& event) {
    const std::lock_guard lock(mutex);
    events.emplace_back(event.level, Clock::now());
    changed.notify_all();
  };
  auto made = GPUMemoryMonitor::create(ledger, options);
  if (!made) return 1;
  auto& watches = *made.value();
  gf::bench::Draw draw(1);
  const auto use = [&](double share) {
    gf::test::FakeCards::set(cards.card(0).used, static_cast<std::uint64_t>(share * 1000) * mib);
  };
  fmt::print("| monitor | median | p99 | aim |\n|---|---:|---:|---:|\n");
  const auto measure = [&](std::string_view name, double before, double after, PressureLevel level,
                           std::string_view aim) {
    std::vector<std::int64_t> times;
    watches.job_began();
    for (int round = 0; round < rounds; ++round) {
      use(before);
      std::this_thread::sleep_for(
          std::chrono::microseconds(static_cast<std::int64_t>(110'000 + draw.between(0, 60'000))));
      std::unique_lock lock(mutex);
      events.clear();
      const auto begun = Clock::now();
      use(after);
      const bool told = changed.wait_for(lock, std::chrono::seconds(5), [&] {
        return std::any_of(events.begin(), events.end(), [&](const auto& event) { return event.first >= level; });
      });
      if (told) times.push_back(since_us(begun));
    }
    watches.job_ended();
    if (times.size() != static_cast<std::size_t>(rounds))
      fmt::print(stderr, "{} of {} were told\n", times.size(), rounds);
    if (!times.empty()) {
      fmt::print("| {} | {:.1f} ms | {:.1f} ms | {} |\n", name, at_share(times, 0.5), at_share(times, 0.99), aim);
    }
  };
  measure("an outside grab near the limit is acted on", 0.82, 0.92, PressureLevel::high, "15 / 30 ms");
  measure("an outside grab far from the limit is acted on", 0.40, 0.92, PressureLevel::high, "60 ms");
  {
    // A budget that falls below what is held: an idle entry goes.
    struct Idle final : Reclaimer {
      explicit Idle(Ledger& of) : ledger(of) {}
      std::uint64_t reclaim(std::uint32_t device, std::uint64_t bytes) noexcept override {
        if (device != 1) return 0;
        const auto given = std::min(bytes, ledger.total(1));
        ledger.release(1, MemoryKind::weights, given, true);
        return given;
      }
      std::uint64_t reclaimable(std::uint32_t) const noexcept override { return ledger.total(1); }
      Ledger& ledger;
    };
    use(0.1);
    const auto idle = std::make_shared<Idle>(*ledger);
    ledger->add_reclaimer(idle);
    std::vector<std::int64_t> times;
    for (int round = 0; round < rounds; ++round) {
      ledger->set_budget(1, 0);
      ledger->commit(1, MemoryKind::weights, 100 * mib);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const auto begun = Clock::now();
      ledger->set_budget(1, 50 * mib);
      while (ledger->excess(1) > 0 && since_us(begun) < 5'000'000) std::this_thread::yield();
      times.push_back(since_us(begun));
      ledger->release(1, MemoryKind::weights, ledger->total(1), true);
    }
    ledger->set_budget(1, 0);
    fmt::print("| a budget below what is held, until the idle bytes are back | {:.2f} ms | {:.2f} ms | 15 ms |\n",
               at_share(times, 0.5), at_share(times, 0.99));
  }
  {
    std::vector<std::int64_t> times;
    for (int round = 0; round < 100'000; ++round) {
      const auto begun = Clock::now();
      ledger->set_budget(1, 900 * mib + static_cast<std::uint64_t>(round));
      times.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begun).count());
    }
    fmt::print("| setting a budget that is not passed | {:.0f} ns | {:.0f} ns | each frame |\n",
               at_share(times, 0.5) * 1000, at_share(times, 0.99) * 1000);
    ledger->set_budget(1, 0);
  }
  fmt::print(
      "\n| processor share of the monitor's thread | of one core | looks a second | aim |\n|---|---:|---:|---:|\n");
  const auto load = [&](GPUMemoryMonitor& of, std::string_view name) {
    of.job_began();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const auto before = of.statistics();
    const auto begun = Clock::now();
    std::this_thread::sleep_for(std::chrono::seconds(4));
    const auto after = of.statistics();
    const auto lasted_us = static_cast<double>(since_us(begun));
    of.job_ended();
    fmt::print("| {} | {:.3f} % | {:.0f} | 0.5 % |\n", name,
               static_cast<double>(after.cpu_us - before.cpu_us) / lasted_us * 100,
               static_cast<double>(after.samples - before.samples) / lasted_us * 1e6);
  };
  use(0.85);
  load(watches, "a card of the fake NVML, near the limit");
  use(0.4);
  load(watches, "a card of the fake NVML, far from it");
  auto host = HostSource::open();
  if (host) {
    // Of no limit to speak of, with a period as if it were near.
    MonitorOptions on_host;
    on_host.devices.push_back({0, host.value()});
    on_host.rules.far_period_us = on_host.rules.near_period_us;
    auto host_monitor = GPUMemoryMonitor::create(ledger, on_host);
    if (host_monitor) load(*host_monitor.value(), "the host (meminfo and control groups), as near the limit");
  }
  const auto before = watches.statistics();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  fmt::print("| asleep, no job | {:.3f} % | {} wake-ups | none |\n\n",
             static_cast<double>(watches.statistics().cpu_us - before.cpu_us) / 1e6 * 100,
             watches.statistics().wake_ups - before.wake_ups);
  return 0;
}

// ---- Cache.

int cache(int rounds) {
  const auto ledger = std::make_shared<Ledger>();
  ModelCacheOptions options;
  options.ledger = ledger;
  options.device = 1;
  const auto models = EnhancedModelCache::create(options).value();
  /// Loads nothing, so that what is left is the cache's own.
  struct Nothing final : EntryCarrier {
    gf::Result<Loaded> load(const Cancelled&) override { return Loaded{std::make_shared<int>(0), 100}; }
  };
  const auto carrier = std::make_shared<Nothing>();
  const auto never = [] { return false; };
  fmt::print("| the cache's own time | median | p99 |\n|---|---:|---:|\n");
  const auto measure = [&](std::string_view name, std::size_t names, std::uint64_t budget) {
    (void)models->clear();
    ledger->set_budget(1, budget);
    std::vector<EntrySpec> specs;
    for (std::size_t at = 0; at < names; ++at) {
      EntrySpec spec;
      spec.key = fmt::format("{} {}", name, at);
      spec.carrier = carrier;
      spec.bytes = 100;
      spec.charged_by_carrier = false;
      specs.push_back(std::move(spec));
    }
    std::vector<std::int64_t> times;
    for (int round = 0; round < rounds; ++round) {
      const auto begun = Clock::now();
      const auto got = models->acquire(specs[static_cast<std::size_t>(round) % names], never);
      const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begun).count();
      if (static_cast<std::size_t>(round) >= names && got) times.push_back(took);
    }
    fmt::print("| {} | {:.1f} us | {:.1f} us |\n", name, at_share(times, 0.5), at_share(times, 0.99));
  };
  measure("a use that finds its entry, of 20", 20, 1 << 20);
  measure("a switch with an eviction, 20 names of which 10 fit", 20, 1000);
  measure("a use that finds its entry, of 1000", 1000, 1 << 30);
  measure("a switch with an eviction, 1000 names of which 500 fit", 1000, 50'000);
  fmt::print("\n");
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const std::string_view what = count > 1 ? words[1] : "";
  const auto number = [&](int at, long otherwise) {
    return count > at ? std::strtol(words[at], nullptr, 10) : otherwise;
  };
  if (what == "eviction") {
    return eviction(static_cast<std::uint64_t>(number(2, 8)), static_cast<std::size_t>(number(3, 3000)));
  }
  if (what == "monitor" && count > 2) return monitor(words[2], static_cast<int>(number(3, 200)));
  if (what == "cache") return cache(static_cast<int>(number(2, 20000)));
  fmt::print(stderr, "gameforge_bench_memory eviction [SEEDS [REQUESTS]] | monitor NVML [ROUNDS] | cache [ROUNDS]\n");
  return 2;
}
