#include "cache/memory_monitor.hpp"

#include "cache/nvml_source.hpp"
#include "fake_nvml/fake_cards.hpp"
#include "support/soon.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using gf::Status;
using gf::cache::AllocatorStatistics;
using gf::cache::GPUMemoryMonitor;
using gf::cache::Ledger;
using gf::cache::MemoryKind;
using gf::cache::MonitorOptions;
using gf::cache::NvmlSource;
using gf::cache::PressureEvent;
using gf::cache::PressureLevel;
using gf::test::FakeCards;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// What a cache does for the monitor: holds idle bytes of the ledger until it is asked.
struct IdleBytes final : gf::cache::Reclaimer {
  IdleBytes(Ledger& of, std::uint32_t on, std::uint64_t bytes) : ledger(of), device(on), idle(bytes) {
    REQUIRE(ledger.reserve(device, MemoryKind::weights, bytes).has_value());
    ledger.commit(device, MemoryKind::weights, bytes);
  }
  std::uint64_t reclaim(std::uint32_t which, std::uint64_t bytes) noexcept override {
    if (which != device) return 0;
    const std::lock_guard lock(mutex);
    const auto given = std::min(bytes, idle);
    idle -= given;
    ledger.release(device, MemoryKind::weights, given, true);
    return given;
  }
  std::uint64_t reclaimable(std::uint32_t which) const noexcept override {
    const std::lock_guard lock(mutex);
    return which == device ? idle : 0;
  }
  Ledger& ledger;
  const std::uint32_t device;
  mutable std::mutex mutex;
  std::uint64_t idle;
};

/// A monitor of one card of 1000 MiB, which is device 1 of the ledger.
struct World {
  FakeCards cards{1};
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<PressureEvent> events;
  std::unique_ptr<GPUMemoryMonitor> monitor;

  explicit World(std::uint64_t headroom = 0, double fraction = 1) {
    cards.card(0).total = 1000 * mib;
    MonitorOptions options;
    options.devices.push_back({1, NvmlSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).value(), 0, fraction, headroom, {}});
    options.on_pressure = [this](const PressureEvent& event) {
      const std::lock_guard lock(mutex);
      events.push_back(event);
      changed.notify_all();
    };
    monitor = GPUMemoryMonitor::create(ledger, options).value();
  }
  void outside_uses(std::uint64_t bytes) { FakeCards::set(cards.card(0).used, bytes); }
  std::uint64_t reads() { return FakeCards::get(cards.card(0).reads); }
  template <class Condition>
  bool eventually(Condition&& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30), std::forward<Condition>(condition));
  }
};

}  // namespace

TEST_CASE("an outside grab lowers the limit, raises one event, and idle bytes are given back") {
  World world;
  const auto idle = std::make_shared<IdleBytes>(*world.ledger, 1, 300 * mib);
  world.ledger->add_reclaimer(idle);
  world.outside_uses(300 * mib);  // Ours.
  world.monitor->job_began();
  CHECK(world.ledger->account(1).outside == 1000 * mib);
  world.outside_uses(950 * mib);
  REQUIRE(world.eventually([&] { return !world.events.empty(); }));
  {
    const std::lock_guard lock(world.mutex);
    const auto& event = world.events.front();
    CHECK(event.device == 1);
    CHECK(event.level == PressureLevel::high);
    CHECK(event.before == PressureLevel::none);
    CHECK(event.reading.limit == 350 * mib);
    CHECK(event.reading.other_processes == 650 * mib);
    CHECK(event.reclaimed > 0);
  }
  CHECK(gf::test::soon([&] { return world.ledger->total(1) < 300 * mib; }));
  world.monitor->job_ended();
}

TEST_CASE("a grab beyond what is left stops what is new and takes idle bytes down to the limit") {
  World world(50 * mib);
  const auto idle = std::make_shared<IdleBytes>(*world.ledger, 1, 500 * mib);
  world.ledger->add_reclaimer(idle);
  world.outside_uses(500 * mib);
  world.monitor->job_began();
  CHECK(world.ledger->limit(1) == 950 * mib);
  world.outside_uses(1000 * mib);
  CHECK(gf::test::soon([&] { return world.ledger->limit(1) <= 450 * mib && world.ledger->excess(1) == 0; }));
  CHECK(world.ledger->reserve(1, MemoryKind::activations, 500 * mib).error().status == Status::over_budget);
  world.monitor->job_ended();
}

TEST_CASE("without a job the monitor sleeps: it neither wakes up nor asks the card") {
  World world;
  world.monitor->job_began();
  REQUIRE(gf::test::soon([&] { return world.reads() > 3; }));
  world.monitor->job_ended();
  // A look that was due when the job ended may still come; then nothing more.
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  const auto before = world.monitor->statistics();
  const auto reads = world.reads();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(world.monitor->statistics().wake_ups == before.wake_ups);
  CHECK(world.reads() == reads);
  world.ledger->set_budget(1, 100 * mib);  // Above what is held: nobody needs to know.
  CHECK(world.monitor->statistics().wake_ups == before.wake_ups);
}

TEST_CASE("a budget that falls below what is held is acted on, though no job runs") {
  World world;
  const auto idle = std::make_shared<IdleBytes>(*world.ledger, 1, 300 * mib);
  world.ledger->add_reclaimer(idle);
  world.ledger->set_budget(1, 120 * mib);
  CHECK(gf::test::soon([&] { return world.ledger->total(1) == 120 * mib; }));
  CHECK(gf::test::soon([&] { return world.monitor->statistics().longest_over_us > 0; }));
  CHECK(world.monitor->statistics().reclaimed_bytes == 180 * mib);
  CHECK(world.reads() == 0);
}

TEST_CASE("a request has idle bytes given back, and says how many; none in time is an answer") {
  World world;
  const auto idle = std::make_shared<IdleBytes>(*world.ledger, 1, 100 * mib);
  world.ledger->add_reclaimer(idle);
  CHECK(world.monitor->request(1, 30 * mib, 30'000'000) == 30 * mib);
  CHECK(world.monitor->request(1, 200 * mib, 30'000'000) == 70 * mib);
  CHECK(world.monitor->request(7, 1, 30'000'000) == 0);
  std::unique_lock held(idle->mutex);
  CHECK_FALSE(world.monitor->request(1, 1, 1000).has_value());
  held.unlock();
  CHECK(world.ledger->total(1) == 0);
}

TEST_CASE("looks are as frequent as the schedule says, near the limit and far from it") {
  World world;
  using Clock = std::chrono::steady_clock;
  const auto looks_of = [&](std::uint64_t used, double period_s) {
    world.outside_uses(used);
    world.monitor->job_began();
    REQUIRE(gf::test::soon([&] { return world.monitor->reading(1)->total > 0; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // The period before it may have been the other one.
    const auto begun = Clock::now();
    const auto before = world.monitor->statistics().samples;
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    const auto looks = world.monitor->statistics().samples - before;
    const std::chrono::duration<double> lasted = Clock::now() - begun;
    world.monitor->job_ended();
    // A busy machine takes looks away; nothing may add any.
    CHECK(static_cast<double>(looks) <= lasted.count() / period_s + 2);
    return looks;
  };
  const auto far = looks_of(100 * mib, 0.05);
  const auto near = looks_of(850 * mib, 0.01);
  CHECK(far >= 1);
  CHECK(near > far);
}

TEST_CASE("flapping of a neighbour across a threshold raises one event") {
  World world;
  world.outside_uses(880 * mib);
  world.monitor->job_began();
  REQUIRE(world.eventually([&] { return !world.events.empty(); }));
  for (int round = 0; round < 30; ++round) {
    world.outside_uses((round % 2 == 0 ? 920 : 880) * mib);
    const auto seen = world.reads();
    REQUIRE(gf::test::soon([&] { return world.reads() > seen + 1; }));
  }
  world.monitor->job_ended();
  const std::lock_guard lock(world.mutex);
  CHECK(world.events.size() == 2);  // Moderate, then high.
}

TEST_CASE("a card that is lost for a while is counted, and watched again when it is back") {
  World world;
  world.monitor->job_began();
  REQUIRE(gf::test::soon([&] { return world.monitor->statistics().samples > 0; }));
  FakeCards::set(world.cards.card(0).lost, 1);
  REQUIRE(gf::test::soon([&] { return world.monitor->statistics().failed_samples > 0; }));
  CHECK(world.monitor->look(1).error().status == Status::device_lost);
  FakeCards::set(world.cards.card(0).lost, 0);
  world.outside_uses(990 * mib);
  CHECK(world.eventually([&] { return !world.events.empty(); }));
  world.monitor->job_ended();
}

TEST_CASE("a look tells live, cached, overhead and others apart, and the configured fraction") {
  FakeCards cards(1);
  cards.card(0).total = 1000;
  cards.card(0).used = 700;
  cards.card(0).process_count = 1;
  cards.card(0).process_pid[0] = static_cast<std::uint64_t>(::getpid());
  cards.card(0).process_bytes[0] = 450;
  const auto ledger = std::make_shared<Ledger>();
  MonitorOptions options;
  options.devices.push_back({0, NvmlSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).value(), 0, 0.5, 20, [] {
                               return AllocatorStatistics{200, 100, 25};
                             }});
  const auto monitor = GPUMemoryMonitor::create(ledger, options).value();
  REQUIRE(ledger->reserve(0, MemoryKind::weights, 250).has_value());
  ledger->commit(0, MemoryKind::weights, 200);
  monitor->job_began();
  const auto reading = monitor->look(0).value();
  monitor->job_ended();
  CHECK(reading.own_live == 250);
  CHECK(reading.own_held == 200);
  CHECK(reading.own_cached == 100);
  CHECK(reading.own_overhead == 150);
  CHECK(reading.other_processes == 250);
  CHECK(reading.fragmentation == doctest::Approx(0.75));
  CHECK(ledger->account(0).outside == 300 + 200 + 100 - 20);
  CHECK(ledger->account(0).configured == 500);
  CHECK(reading.limit == 500);
  CHECK(monitor->look(1).error().status == Status::not_found);
  CHECK_FALSE(monitor->reading(1).has_value());
}

TEST_CASE("options that cannot be are refused by name") {
  FakeCards cards(1);
  const auto source = NvmlSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).value();
  const auto ledger = std::make_shared<Ledger>();
  const auto refused = [&](std::vector<gf::cache::MonitoredDevice> devices) {
    MonitorOptions options;
    options.devices = std::move(devices);
    return GPUMemoryMonitor::create(ledger, options).error().message;
  };
  CHECK(refused({{64, source}}) == "device 64 is none of the ledger's");
  CHECK(refused({{0, source}, {0, source}}) == "device 0 is named twice");
  CHECK(refused({{0, nullptr}}) == "device 0 has no source");
  CHECK(refused({{0, source, 1}}) == "device 0 is none of its source's");
  CHECK(refused({{0, source, 0, 0.0}}) == "device 0 has the fraction 0; it must be above 0, and at most 1");
}
