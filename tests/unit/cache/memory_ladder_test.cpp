#include "cache/memory_ladder.hpp"

#include "cache/model_cache.hpp"
#include "error/handler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::cache;

namespace {

/// How a job is done; what rungs change.
struct Plan {
  bool sliced = false;
  bool tiled = false;
  bool streamed = false;
  std::uint32_t batch = 4;
  bool encoders_on_device = true;
  bool on_cpu = false;
  bool operator==(const Plan&) const = default;
};

class FakeRung final : public LadderRung {
 public:
  using Do = std::function<bool(Plan&, const Shortage&)>;
  FakeRung(std::string_view name, bool pixels, bool plan, bool repeats, Do what)
      : name_(name), pixels_(pixels), plan_(plan), repeats_(repeats), do_(std::move(what)) {}
  std::string_view name() const override { return name_; }
  bool changes_pixels() const override { return pixels_; }
  bool changes_plan() const override { return plan_; }
  bool repeats() const override { return repeats_; }
  bool climb(const LadderRequest&, const Shortage& shortage, void* plan) override {
    return do_(*static_cast<Plan*>(plan), shortage);
  }

 private:
  const std::string_view name_;
  const bool pixels_;
  const bool plan_;
  const bool repeats_;
  const Do do_;
};

/// A job in three stages on the real ledger, the real cache and the real handler.
struct World {
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();
  std::shared_ptr<EnhancedModelCache> cache;
  std::unique_ptr<gf::error::ErrorHandler> handler = gf::error::ErrorHandler::create({}).value();
  std::shared_ptr<MemoryLadder> ladder;
  std::uint64_t allocator_keeps = 0;
  int samplings = 0;
  int decodes = 0;

  World() {
    ModelCacheOptions options;
    options.ledger = ledger;
    cache = EnhancedModelCache::create(options).value();
    std::vector<std::unique_ptr<LadderRung>> rungs;
    rungs.push_back(make_flush_rung([this] {
      const auto bytes = std::exchange(allocator_keeps, 0);
      ledger->release(0, MemoryKind::staging, bytes, true);
      return bytes;
    }));
    rungs.push_back(make_evict_idle_rung(ledger));
    const auto add = [&](std::string_view name, bool pixels, bool repeats, FakeRung::Do what) {
      rungs.push_back(std::make_unique<FakeRung>(name, pixels, true, repeats, std::move(what)));
    };
    add(rung_offload_parts, false, false,
        [](Plan& plan, const Shortage&) { return std::exchange(plan.encoders_on_device, false); });
    add(rung_slice_attention, false, false, [](Plan& plan, const Shortage& shortage) {
      return shortage.stage != MemoryStage::decoding && !std::exchange(plan.sliced, true);
    });
    add(rung_tile_vae, true, false, [](Plan& plan, const Shortage&) { return !std::exchange(plan.tiled, true); });
    add(rung_stream_weights, false, false,
        [](Plan& plan, const Shortage&) { return !std::exchange(plan.streamed, true); });
    add(rung_halve_batch, false, true, [](Plan& plan, const Shortage&) {
      if (plan.batch == 1) return false;
      plan.batch /= 2;
      return true;
    });
    add(rung_stage_on_cpu, true, false, [](Plan& plan, const Shortage&) { return !std::exchange(plan.on_cpu, true); });
    ladder = MemoryLadder::create(ledger, std::move(rungs)).value();
    REQUIRE(ladder->join(*handler).has_value());
  }
  ~World() { CHECK(handler->remove(MemoryLadder::strategy_name)); }

  static std::uint64_t weights(const Plan& plan) {
    return (plan.streamed ? 100 : 500) + (plan.encoders_on_device ? 100 : 0);
  }
  static std::uint64_t sampling(const Plan& plan) { return plan.batch * (plan.sliced ? 30u : 60u); }
  static std::uint64_t decoding(const Plan& plan) { return plan.on_cpu ? 0 : plan.tiled ? 40 : 160; }
  static constexpr std::uint64_t peak = 600 + 240;

  /// Takes bytes for a moment, beside those that the job holds already.
  Result<void> use(std::uint64_t bytes) {
    GF_TRYV(ledger->reserve(0, MemoryKind::activations, bytes));
    ledger->release(0, MemoryKind::activations, bytes, false);
    return gf::success();
  }
  Result<Plan> job(LadderOptions options, const std::string& model = "tiles", std::uint32_t side = 512) {
    Plan plan;
    LadderRequest request;
    request.model = model;
    request.width_px = side;
    request.height_px = side;
    MemoryLadder::Climb climb(*ladder, request, std::move(options), &plan);
    gf::error::Operation operation;
    operation.limits.attempts = 20;
    const auto stage = [&](std::string_view name, MemoryStage which, const std::function<Result<void>()>& body) {
      operation.name = name;
      climb.at(which);
      return handler->run<void>(operation, [&](std::uint32_t) { return body(); });
    };
    auto done = stage("sampling", MemoryStage::sampling, [&] {
      auto answer = use(weights(plan) + sampling(plan));
      if (answer) ++samplings;
      return answer;
    });
    if (done) {
      done = stage("decoding", MemoryStage::decoding, [&] {
        auto answer = use(weights(plan) + decoding(plan));
        if (answer) ++decodes;
        return answer;
      });
    }
    last_climbed = climb.climbed();
    last_changed_pixels = climb.changed_pixels();
    if (!done) return climb.explained(std::move(done).error());
    climb.succeeded();
    return plan;
  }
  std::vector<std::string> last_climbed;
  bool last_changed_pixels = false;
};

}  // namespace

TEST_CASE("with enough memory nothing is climbed") {
  World world;
  world.ledger->set_budget(0, World::peak);
  CHECK(world.job({}).value() == Plan{});
  CHECK(world.last_climbed.empty());
  CHECK(world.ladder->statistics().climbs == 0);
}

TEST_CASE("rungs are climbed in order, only as far as it takes, and what is idle goes first") {
  World world;
  struct Idle final : EntryCarrier {
    Result<Loaded> load(const Cancelled&) override { return Loaded{std::make_shared<int>(0), 50}; }
  };
  EntrySpec spec;
  spec.carrier = std::make_shared<Idle>();
  spec.charged_by_carrier = false;
  spec.bytes = 50;
  for (const auto* key : {"a", "b", "c"}) {
    spec.key = key;
    REQUIRE(world.cache->acquire(spec, [] { return false; }).has_value());
  }
  world.ledger->commit(0, MemoryKind::staging, 20);
  world.allocator_keeps = 20;
  // 60 short: the allocator has 20 of them, and one idle entry is enough for the rest.
  world.ledger->set_budget(0, World::peak + 110);
  CHECK(world.job({}).value() == Plan{});
  CHECK(world.last_climbed == std::vector<std::string>{"flush_allocator", "evict_idle"});
  CHECK(world.cache->statistics().entries == 2);
}

TEST_CASE("budgets from the peak down to a tenth: it ends well wherever a rung fits, and never passes the budget") {
  for (const bool pixels : {false, true}) {
    CAPTURE(pixels);
    std::uint64_t least_that_fits = World::peak;
    for (std::uint64_t percent = 100; percent >= 10; --percent) {
      CAPTURE(percent);
      World world;
      const auto budget = World::peak * percent / 100;
      world.ledger->set_budget(0, budget);
      LadderOptions options;
      options.allow_pixel_changes = pixels;
      const auto plan = world.job(options);
      // The least that any plan needs.
      Plan last{
          .sliced = true, .tiled = pixels, .streamed = true, .batch = 1, .encoders_on_device = false, .on_cpu = pixels};
      const auto least =
          std::max(World::weights(last) + World::sampling(last), World::weights(last) + World::decoding(last));
      CHECK(plan.has_value() == (budget >= least));
      CHECK(world.ledger->account(0).peak <= budget);
      if (plan) {
        least_that_fits = budget;
        if (!pixels) CHECK_FALSE(world.last_changed_pixels);
        CHECK(world.samplings == 1);  // A shortage in the decode never samples anew.
        CHECK(world.decodes == 1);
      } else {
        CHECK(plan.error().status == Status::out_of_device_memory);
        CHECK(world.ladder->statistics().exhausted == 1);
      }
    }
    CHECK(least_that_fits < World::peak / 2);
  }
}

TEST_CASE("forbidden rungs are not climbed, the caller's order counts, and pixels change only where it is allowed") {
  World world;
  world.ledger->set_budget(0, 720);
  LadderOptions options;
  options.order = {"halve_batch", "slice_attention", "no such rung", "tile_vae"};
  CHECK(world.job(options).has_value() == false);  // The decode needs its 160 beside 600 of weights.
  CHECK(world.last_climbed == std::vector<std::string>{"halve_batch", "halve_batch"});
  options.allow_pixel_changes = true;
  const auto plan = world.job(options, "tiles", 256).value();
  CHECK(plan.batch == 1);
  CHECK(plan.tiled);
  CHECK_FALSE(plan.sliced);
  options = {};
  options.forbidden = {"offload_parts"};
  CHECK(world.job(options, "tiles", 128).value().streamed);
  CHECK(world.last_climbed == std::vector<std::string>{"slice_attention", "stream_weights"});
}

TEST_CASE("what helped is how the next job of its kind begins, and no other") {
  World world;
  world.ledger->set_budget(0, 700);
  const auto first = world.job({}).value();
  CHECK(world.ladder->statistics().climbs == 1);
  const auto second = world.job({}).value();
  CHECK(second == first);
  CHECK(world.ladder->statistics().climbs == 1);  // It ran out of nothing.
  CHECK(world.ladder->statistics().begun_with_plan == 1);
  // Another size, another model or another budget begins as a fresh one does.
  const auto climbs_of = [&](const std::string& model, std::uint32_t side) {
    const auto before = world.ladder->statistics().begun_with_plan;
    CHECK(world.job({}, model, side).has_value());
    return world.ladder->statistics().begun_with_plan - before;
  };
  CHECK(climbs_of("tiles", 256) == 0);
  CHECK(climbs_of("trees", 512) == 0);
  world.ledger->set_budget(0, World::peak);
  CHECK(climbs_of("tiles", 512) == 0);
  CHECK(world.job({}).value() == Plan{});
  world.ladder->forget();
  world.ledger->set_budget(0, 700);
  CHECK(climbs_of("tiles", 512) == 0);
}

TEST_CASE("the error at the end has a plan: needed, had, tried, not allowed, and what would fit") {
  World world;
  world.ledger->set_budget(0, 200);
  LadderOptions options;
  options.order = {"offload_parts", "stream_weights", "tile_vae", "halve_batch"};
  options.forbidden = {"halve_batch"};
  const auto error = world.job(options).error();
  CHECK(error.status == Status::out_of_device_memory);
  CHECK(error.message ==
        "340 bytes were asked of device 0, which holds 0 of at most 200; tiles at 512 x 512, sampling, needs 340 bytes "
        "where 0 of at most 200 are held; tried: offload_parts, stream_weights; not allowed: tile_vae, halve_batch; "
        "a budget of 340 bytes would fit");
  std::string would_fit;
  for (const auto& field : error.context) {
    if (field.key == "would_fit_bytes") would_fit = field.value;
  }
  CHECK(would_fit == "340");
  world.ledger->set_budget(0, 340);
  CHECK(world.job(options, "tiles", 64).has_value());  // And so it does.
}

TEST_CASE("other errors and other threads are none of a climb's business") {
  World world;
  Plan plan;
  MemoryLadder::Climb climb(*world.ladder, {.model = "tiles"}, {}, &plan);
  int runs = 0;
  const auto fail = [&](Status status) {
    return world.handler->run<void>({.name = "any"}, [&](std::uint32_t) -> Result<void> {
      ++runs;
      return Error{status, "as told", {}};
    });
  };
  CHECK(fail(Status::corrupt_file).error().status == Status::corrupt_file);
  CHECK(runs == 1);
  runs = 0;
  std::thread([&] { CHECK(fail(Status::out_of_device_memory).has_error()); }).join();
  CHECK(runs == 1);
  CHECK(climb.climbed().empty());
  CHECK(climb.explained({Status::corrupt_file, "as told", {}}).message == "as told");
  runs = 0;
  CHECK(fail(Status::out_of_device_memory).has_error());
  CHECK(runs > 1);
}

TEST_CASE("jobs on several threads climb on their own") {
  World world;
  world.ledger->set_budget(0, 4000);
  std::vector<std::thread> threads;
  std::atomic<int> well{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < 50; ++round) {
        Plan plan;
        MemoryLadder::Climb climb(*world.ladder, {.model = "m" + std::to_string(thread)}, {}, &plan);
        const auto done = world.handler->run<void>({.name = "any", .limits = {.attempts = 20}}, [&](std::uint32_t) {
          return plan.batch == 1 ? gf::success() : Result<void>(Error{Status::out_of_device_memory, "more", {}});
        });
        if (done && plan.batch == 1) ++well;
        if (done) climb.succeeded();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(well == 200);
}

TEST_CASE("rungs without a name, or with the same, are refused") {
  const auto ledger = std::make_shared<Ledger>();
  std::vector<std::unique_ptr<LadderRung>> rungs;
  rungs.push_back(make_evict_idle_rung(ledger));
  rungs.push_back(make_evict_idle_rung(ledger));
  CHECK(MemoryLadder::create(ledger, std::move(rungs)).error().message == "there are two rungs evict_idle");
  rungs.clear();
  rungs.push_back(nullptr);
  CHECK(MemoryLadder::create(ledger, std::move(rungs)).error().message == "rung 0 has no name");
}

TEST_CASE("who waits for memory goes on when others give it back, and never waits for somebody who waits") {
  const auto ledger = std::make_shared<Ledger>();
  ledger->set_budget(0, 100);
  REQUIRE(ledger->reserve(0, MemoryKind::weights, 80));
  const auto wait = make_wait_rung(ledger, 60'000'000);
  Shortage shortage;
  shortage.needed = 50;
  LadderRequest request;
  auto& jobs = ledger->jobs();

  // Alone there is nobody to wait for, and for more than there will ever be nobody waits.
  jobs.begun();
  CHECK_FALSE(wait->climb(request, shortage, nullptr));
  jobs.begun();  // Another job is at work.
  shortage.needed = 101;
  CHECK_FALSE(wait->climb(request, shortage, nullptr));

  // It gives back.
  shortage.needed = 50;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ledger->release(0, MemoryKind::weights, 80, false);
  });
  CHECK(wait->climb(request, shortage, nullptr));
  CHECK(ledger->total(0) == 0);
  other.join();
  CHECK_FALSE(wait->mends());

  // What is free is not waited for, and a cancelled job does not wait.
  CHECK(wait->climb(request, shortage, nullptr));
  REQUIRE(ledger->reserve(0, MemoryKind::weights, 80));
  request.cancelled = [] { return true; };
  CHECK_FALSE(wait->climb(request, shortage, nullptr));
  request.cancelled = {};

  // Each holds what the other waits for: one of them is told to go on, its end frees the other.
  std::atomic<int> refused{0};
  std::atomic<int> helped{0};
  const auto job = [&] {
    if (wait->climb(request, shortage, nullptr)) {
      ++helped;
    } else {
      ++refused;
      ledger->release(0, MemoryKind::weights, 40, false);
    }
    jobs.ended();
  };
  std::thread first(job);
  std::thread second(job);
  first.join();
  second.join();
  CHECK(refused == 1);
  CHECK(helped == 1);
}

TEST_CASE("a wait has an end, and idle memory ends it too") {
  World world;
  world.ledger->set_budget(0, 100);
  auto& jobs = world.ledger->jobs();
  jobs.begun();
  jobs.begun();
  Shortage shortage;
  shortage.needed = 50;
  REQUIRE(world.ledger->reserve(0, MemoryKind::weights, 80));
  CHECK_FALSE(make_wait_rung(world.ledger, 20'000)->climb({}, shortage, nullptr));
  struct Idle final : Reclaimer {
    Ledger* ledger = nullptr;
    std::uint64_t reclaim(std::uint32_t, std::uint64_t bytes) noexcept override {
      ledger->release(0, MemoryKind::weights, bytes, false);
      return bytes;
    }
    std::uint64_t reclaimable(std::uint32_t) const noexcept override { return 80; }
  };
  const auto idle = std::make_shared<Idle>();
  idle->ledger = world.ledger.get();
  world.ledger->add_reclaimer(idle);
  CHECK(make_wait_rung(world.ledger, 20'000)->climb({}, shortage, nullptr));
  CHECK(world.ledger->total(0) == 50);
  jobs.ended();
  jobs.ended();
}
