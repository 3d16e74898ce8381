#include "cache/model_cache.hpp"
#include "support/soon.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::cache;

namespace {

class SetClock final : public gf::Clock {
 public:
  std::int64_t now_us() const noexcept override { return now; }
  std::int64_t unix_us() const noexcept override { return now; }
  std::atomic<std::int64_t> now{1'000'000};
};

/// Takes its bytes from the ledger as a backend does, and gives them back with the payload's last share.
class Weights {
 public:
  Weights(Ledger& ledger, std::uint32_t device, std::uint64_t bytes) : ledger_(ledger), device_(device), bytes_(bytes) {
    ledger_.commit(device_, MemoryKind::weights, bytes_);
    ++alive;
  }
  ~Weights() {
    ledger_.release(device_, MemoryKind::weights, bytes_, true);
    --alive;
  }
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;
  static inline std::atomic<int> alive{0};

 private:
  Ledger& ledger_;
  const std::uint32_t device_;
  const std::uint64_t bytes_;
};

class Carrier final : public EntryCarrier {
 public:
  Carrier(std::shared_ptr<Ledger> ledger, std::uint32_t device, std::uint64_t bytes)
      : ledger_(std::move(ledger)), device_(device), bytes_(bytes) {}

  Result<Loaded> load(const Cancelled& cancelled) override {
    ++loads;
    while (hold) {
      if (cancelled()) return Error{Status::cancelled, "the load was cancelled", {}};
      std::this_thread::yield();
    }
    if (clock != nullptr) clock->now += take_us;
    if (fail != Status::ok) return Error{fail, "it does not load", {}};
    return take();
  }
  bool has_host_tier() const override { return host; }
  Result<Loaded> to_host(const std::shared_ptr<void>&) override {
    ++demotions;
    return Loaded{std::make_shared<int>(1), bytes_};
  }
  Result<Loaded> to_device(const std::shared_ptr<void>&, const Cancelled&) override {
    ++promotions;
    return take();
  }

  std::atomic<int> loads{0};
  std::atomic<int> demotions{0};
  std::atomic<int> promotions{0};
  std::atomic<bool> hold{false};
  std::atomic<Status> fail{Status::ok};
  bool host = false;
  SetClock* clock = nullptr;
  std::int64_t take_us = 0;

 private:
  Result<Loaded> take() {
    GF_TRYV(ledger_->reserve(device_, MemoryKind::weights, bytes_));
    return Loaded{std::make_shared<Weights>(*ledger_, device_, bytes_), 0};
  }
  const std::shared_ptr<Ledger> ledger_;
  const std::uint32_t device_;
  const std::uint64_t bytes_;
};

const EntryCarrier::Cancelled never = [] { return false; };

struct World {
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();
  SetClock clock;
  std::map<std::string, std::shared_ptr<Carrier>> carriers;
  std::shared_ptr<EnhancedModelCache> cache;

  explicit World(ModelCacheOptions options = {}) {
    options.ledger = ledger;
    options.device = 1;
    options.clock = &clock;
    cache = EnhancedModelCache::create(std::move(options)).value();
  }
  EntrySpec spec(const std::string& key, std::uint64_t bytes, bool told = true) {
    auto& carrier = carriers[key];
    if (!carrier) carrier = std::make_shared<Carrier>(ledger, 1, bytes);
    EntrySpec out;
    out.key = key;
    out.carrier = carrier;
    out.bytes = told ? bytes : 0;
    return out;
  }
  Result<EnhancedModelCache::Handle> get(const std::string& key, std::uint64_t bytes, bool told = true) {
    return cache->acquire(spec(key, bytes, told), never);
  }
  Tier tier(const std::string& key) const {
    for (const auto& entry : cache->entries()) {
      if (entry.key == key) return entry.tier;
    }
    return Tier::file;
  }
};

}  // namespace

TEST_CASE("an entry is loaded at its first use and found at the next") {
  World world;
  {
    const auto first = world.get("tiles", 300, false).value();
    CHECK_FALSE(first.was_hit());
    const auto second = world.get("tiles", 300).value();
    CHECK(second.was_hit());
    CHECK(first.payload() == second.payload());
    const auto info = world.cache->entries().at(0);
    CHECK(info.users == 2);
    CHECK(info.bytes == 300);  // Told by the ledger.
  }
  CHECK(world.carriers["tiles"]->loads == 1);
  CHECK(world.ledger->total(1) == 300);
  const auto numbers = world.cache->statistics();
  CHECK(numbers.hits == 1);
  CHECK(numbers.loads == 1);
  CHECK(numbers.idle_bytes == 300);
  world.cache.reset();
  CHECK(world.ledger->total(1) == 0);
}

TEST_CASE("what is idle makes room, only as much as is missing; what is in use or pinned stays") {
  World world;
  world.ledger->set_budget(1, 1000);
  const auto used = world.get("used", 300).value();
  REQUIRE(world.get("pinned", 200).has_value());
  world.cache->pin("pinned", true);
  REQUIRE(world.get("old", 250).has_value());
  REQUIRE(world.get("newer", 200).has_value());
  REQUIRE(world.get("wanted", 200).has_value());  // 50 are free, so that one of the idle goes.
  CHECK(world.tier("used") == Tier::device);
  CHECK(world.tier("pinned") == Tier::device);
  CHECK(world.cache->statistics().evictions == 1);
  CHECK(world.ledger->total(1) <= 1000);
  world.cache->pin("pinned", false);
  REQUIRE(world.get("large", 700).has_value());
  CHECK(world.ledger->total(1) == 1000);
  CHECK(world.tier("pinned") == Tier::file);
}

TEST_CASE("what cannot fit is refused before anything is loaded or given up, with the bytes") {
  World world;
  world.ledger->set_budget(1, 1000);
  const auto used = world.get("used", 600).value();
  REQUIRE(world.get("idle", 300).has_value());
  const auto refused = world.get("large", 500).error();
  CHECK(refused.status == Status::over_budget);
  CHECK(refused.message == "large needs 500 bytes of device 1; 100 are free and 300 can be given up of at most 1000");
  std::string fields;
  for (const auto& field : refused.context) fields += field.key + "=" + field.value + " ";
  CHECK(fields == "device=1 needed_bytes=500 free_bytes=100 evictable_bytes=300 limit_bytes=1000 ");
  CHECK(world.carriers["large"]->loads == 0);
  CHECK(world.tier("idle") == Tier::device);
  CHECK(world.cache->statistics().refusals == 1);
  REQUIRE(world.get("fits", 400).has_value());
}

TEST_CASE("what turns out larger than was thought makes room for itself") {
  World world;
  world.ledger->set_budget(1, 1000);
  REQUIRE(world.get("first", 400).has_value());
  REQUIRE(world.get("second", 400).has_value());
  REQUIRE(world.get("surprise", 700, false).has_value());
  CHECK(world.ledger->total(1) <= 1000);
  CHECK(world.tier("surprise") == Tier::device);
  CHECK(world.get("endless", 1001, false).error().status == Status::over_budget);
}

TEST_CASE("many who want one entry at the same time load it once; an error is all of theirs") {
  World world;
  for (const bool fails : {false, true}) {
    const std::string key = fails ? "broken" : "whole";
    const auto spec = world.spec(key, 100);
    auto& carrier = *world.carriers[key];
    carrier.hold = true;
    if (fails) carrier.fail = Status::corrupt_file;
    std::atomic<int> well{0};
    std::atomic<int> ill{0};
    std::vector<std::thread> threads;
    const auto waits_before = world.cache->statistics().waits;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        const auto got = world.cache->acquire(spec, never);
        if (got) {
          ++well;
        } else if (got.error().status == Status::corrupt_file) {
          ++ill;
        }
      });
    }
    CHECK(gf::test::soon([&] { return world.cache->statistics().waits == waits_before + 3; }));
    carrier.hold = false;
    for (auto& thread : threads) thread.join();
    CHECK(carrier.loads == 1);
    CHECK(well == (fails ? 0 : 4));
    CHECK(ill == (fails ? 4 : 0));
  }
  CHECK(world.cache->statistics().failed_loads == 1);
}

TEST_CASE("when the one that loads is cancelled the next one loads, and who waits can be cancelled too") {
  World world;
  const auto spec = world.spec("tiles", 100);
  auto& carrier = *world.carriers["tiles"];
  carrier.hold = true;
  std::atomic<bool> first_cancelled{false};
  std::atomic<bool> waiter_cancelled{false};
  std::atomic<Status> first{Status::ok};
  std::atomic<Status> waiter{Status::ok};
  std::thread loading([&] {
    const auto got = world.cache->acquire(spec, [&] { return first_cancelled.load(); });
    first = got ? Status::ok : got.error().status;
  });
  REQUIRE(gf::test::soon([&] { return carrier.loads == 1; }));
  std::thread leaving([&] {
    const auto got = world.cache->acquire(spec, [&] { return waiter_cancelled.load(); });
    waiter = got ? Status::ok : got.error().status;
  });
  std::thread staying([&] { CHECK(world.cache->acquire(spec, never).has_value()); });
  REQUIRE(gf::test::soon([&] { return world.cache->statistics().waits == 2; }));
  waiter_cancelled = true;
  world.cache->wake();
  leaving.join();
  CHECK(waiter == Status::cancelled);
  first_cancelled = true;
  REQUIRE(gf::test::soon([&] { return carrier.loads == 2; }));
  carrier.hold = false;
  loading.join();
  staying.join();
  CHECK(first == Status::cancelled);
}

TEST_CASE("evicted by name while it is used, an entry lives on for its users, and others get another one") {
  World world;
  auto old = world.get("tiles", 100).value();
  CHECK(world.cache->evict("tiles"));
  CHECK_FALSE(world.cache->evict("tiles"));
  CHECK(world.ledger->total(1) == 100);
  auto fresh = world.get("tiles", 100).value();
  CHECK(world.ledger->total(1) == 200);
  CHECK(fresh.payload() != old.payload());
  old.reset();
  CHECK(world.ledger->total(1) == 100);
  fresh.reset();
  CHECK(world.cache->evict("tiles"));
  CHECK(world.ledger->total(1) == 0);
  CHECK_FALSE(world.cache->evict("never seen"));
}

TEST_CASE("what is given up waits in the host tier, and comes back from there") {
  ModelCacheOptions options;
  options.host_bytes = 500;
  World world(std::move(options));
  world.ledger->set_budget(1, 400);
  for (const auto* key : {"first", "second", "third"}) {
    (void)world.spec(key, 300);
    world.carriers[key]->host = true;
    REQUIRE(world.get(key, 300).has_value());
  }
  // The host tier has room for one of the two that went.
  CHECK(world.tier("third") == Tier::device);
  CHECK(world.cache->statistics().host_entries == 1);
  CHECK(world.ledger->total(0) == 300);
  CHECK(world.ledger->total(1) == 300);
  const std::string there = world.tier("second") == Tier::host ? "second" : "first";
  REQUIRE(world.get(there, 300).has_value());
  CHECK(world.carriers[there]->promotions == 1);
  CHECK(world.carriers[there]->loads == 1);
  CHECK(world.cache->statistics().host_hits == 1);
  CHECK(world.cache->demote(there, false));
  CHECK(world.tier(there) == Tier::host);
  CHECK(world.ledger->total(1) == 0);
  world.cache->clear();
  CHECK(world.ledger->total(0) == 0);
}

TEST_CASE("a demotion that the host's budget refuses drops instead, and passes no budget") {
  ModelCacheOptions options;
  options.host_bytes = 1000;
  World world(std::move(options));
  world.ledger->set_budget(0, 100);
  (void)world.spec("tiles", 300);
  world.carriers["tiles"]->host = true;
  REQUIRE(world.get("tiles", 300).has_value());
  CHECK_FALSE(world.cache->demote("tiles", false));
  CHECK(world.tier("tiles") == Tier::device);
  CHECK(world.ledger->reclaim(1, 300) == 300);
  CHECK(world.tier("tiles") == Tier::file);
  CHECK(world.ledger->account(0).peak == 0);
  CHECK(world.ledger->total(1) == 0);
}

TEST_CASE("what stands on another goes before it, and keeps it while it is in use") {
  World world;
  world.ledger->set_budget(1, 1000);
  const auto embedding = [&](const std::string& key) {
    auto spec = world.spec(key, 50);
    spec.kind = EntryKind::embedding;
    spec.stands_on = "model";
    return world.cache->acquire(spec, never);
  };
  auto model = world.get("model", 500).value();
  auto kept = embedding("a").value();
  REQUIRE(embedding("b").has_value());
  model.reset();
  // The model is idle, but an embedding of it is in use.
  CHECK(world.cache->reclaimable(1) == 50);
  CHECK(world.get("large", 900).error().status == Status::over_budget);
  kept.reset();
  CHECK(world.cache->reclaimable(1) == 600);
  REQUIRE(world.get("large", 900).has_value());
  CHECK(world.tier("a") == Tier::file);
  CHECK(world.tier("model") == Tier::file);
}

TEST_CASE("entries that the cache charges itself are counted as they are") {
  World world;
  world.ledger->set_budget(1, 100);
  struct Text final : EntryCarrier {
    Result<Loaded> load(const Cancelled&) override { return Loaded{std::make_shared<std::string>("encoded"), bytes}; }
    std::uint64_t bytes = 60;
  };
  EntrySpec spec;
  spec.key = "embedding:1";
  spec.kind = EntryKind::embedding;
  const auto carrier = std::make_shared<Text>();
  spec.carrier = carrier;
  spec.charged_by_carrier = false;
  spec.bytes = 40;
  {
    const auto handle = world.cache->acquire(spec, never).value();
    CHECK(handle.as<std::string>() == "encoded");
    CHECK(world.ledger->account(1).committed[0] == 60);
    carrier->bytes = 70;
    spec.key = "embedding:2";
    CHECK(world.cache->acquire(spec, never).error().status == Status::over_budget);
    CHECK(world.ledger->total(1) == 60);
  }
  CHECK(world.cache->acquire(spec, never).has_value());
  CHECK(world.ledger->total(1) == 70);
  CHECK(world.cache->clear() == 70);
  CHECK(world.ledger->total(1) == 0);
}

TEST_CASE("idle entries end after their time, by a clock that is passed in") {
  ModelCacheOptions options;
  options.idle_us = 1000;
  World world(std::move(options));
  auto used = world.get("used", 10).value();
  REQUIRE(world.get("idle", 20).has_value());
  world.clock.now += 999;
  CHECK(world.cache->trim() == 0);
  world.clock.now += 1;
  CHECK(world.cache->trim() == 20);
  used.reset();
  CHECK(world.cache->trim() == 0);
  options = {};
  options.idle_us = 0;
  World at_once(std::move(options));
  REQUIRE(at_once.get("tiles", 10).has_value());
  CHECK(at_once.ledger->total(1) == 0);
}

TEST_CASE("a quarantined entry is gone with what was learnt of it, and is loaded anew") {
  World world;
  REQUIRE(world.get("tiles", 100).has_value());
  CHECK(world.cache->quarantine("tiles"));
  CHECK(world.cache->entries().empty());
  CHECK_FALSE(world.cache->quarantine("tiles"));
  REQUIRE(world.get("tiles", 100).has_value());
  CHECK(world.carriers["tiles"]->loads == 2);
}

TEST_CASE("when the last use ends while the limit is passed, whoever relieves it is woken") {
  World world;
  auto used = world.get("tiles", 100).value();
  world.ledger->set_budget(1, 10);
  const auto seen = world.ledger->news();
  used.reset();
  CHECK(world.ledger->news() != seen);
  CHECK(world.ledger->reclaim(1, world.ledger->excess(1)) == 100);
}

TEST_CASE("the key of a prompt is its parts' alone, whatever the order of the LoRAs") {
  const auto key = embedding_key("model", {"a 1", "b 0.5"}, 0, {"text", "negative"});
  CHECK(key == embedding_key("model", {"b 0.5", "a 1"}, 0, {"text", "negative"}));
  CHECK(key != embedding_key("model", {"b 0.5"}, 0, {"text", "negative"}));
  CHECK(key != embedding_key("model", {"a 1", "b 0.5"}, 1, {"text", "negative"}));
  CHECK(key != embedding_key("model", {"a 1", "b 0.5"}, 0, {"textnegative", ""}));
  CHECK(key != embedding_key("model", {"a 1b 0.5"}, 0, {"text", "negative"}));
  CHECK(key != embedding_key("mode", {"la 1", "b 0.5"}, 0, {"text", "negative"}));
}

TEST_CASE("property: random uses agree with a plain list of what is loaded, and the budget is never passed") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    ModelCacheOptions options;
    if (seed % 2 == 0) options.host_bytes = 600;
    World world(std::move(options));
    std::uint64_t budget = 2000;
    world.ledger->set_budget(1, budget);
    std::map<std::string, std::uint64_t> sizes;
    for (int name = 0; name < 10; ++name) {
      const auto key = "m" + std::to_string(name);
      sizes[key] = random() % 700 + 1;
      (void)world.spec(key, sizes[key]);
      world.carriers[key]->host = name % 3 != 0;
      world.carriers[key]->clock = &world.clock;
      world.carriers[key]->take_us = static_cast<std::int64_t>(random() % 1000);
    }
    std::vector<std::pair<std::string, EnhancedModelCache::Handle>> held;
    std::map<std::string, bool> pinned;
    for (int step = 0; step < 600; ++step) {
      const auto key = "m" + std::to_string(random() % 10);
      switch (random() % 8) {
        default: {
          const bool was_there = world.tier(key) == Tier::device;
          std::uint64_t kept = 0;
          for (const auto& info : world.cache->entries()) {
            if (info.tier == Tier::device && (info.users > 0 || info.pinned)) kept += info.bytes;
          }
          auto got = world.cache->acquire(world.spec(key, sizes[key], random() % 2 == 0), never);
          if (got) {
            REQUIRE(got.value().was_hit() == was_there);
            held.emplace_back(key, std::move(got).value());
          } else {
            REQUIRE(got.error().status == Status::over_budget);
            REQUIRE(kept + sizes[key] > budget);  // Nothing that could fit is refused.
          }
          break;
        }
        case 0:
        case 1:
        case 2:
          if (!held.empty()) held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % held.size()));
          break;
        case 3:
          pinned[key] = random() % 4 == 0;
          world.cache->pin(key, pinned[key]);
          break;
        case 4:
          if (random() % 4 == 0) {
            budget = random() % 2500 + 200;
            world.ledger->set_budget(1, budget);
            (void)world.ledger->reclaim(1, world.ledger->excess(1));
          } else {
            (void)world.cache->demote(key, random() % 2 == 0);
          }
      }
      std::uint64_t on_device = 0;
      std::uint64_t on_host = 0;
      std::map<std::string, std::uint32_t> users;
      for (const auto& [name, handle] : held) ++users[name];
      for (const auto& info : world.cache->entries()) {
        if (info.tier == Tier::device) on_device += info.bytes;
        if (info.tier == Tier::host) on_host += info.bytes;
        REQUIRE(info.users == users[info.key]);
        if (info.users > 0) REQUIRE(info.tier == Tier::device);  // What is in use is never given up.
        if (info.tier != Tier::file) REQUIRE(info.bytes == sizes[info.key]);
      }
      REQUIRE(world.ledger->total(1) == on_device);
      REQUIRE(world.ledger->total(0) == on_host);
      REQUIRE(on_host <= 600);
      const auto numbers = world.cache->statistics();
      REQUIRE(numbers.bytes == on_device);
      REQUIRE(numbers.host_tier_bytes == on_host);
    }
    held.clear();
    world.cache->clear();
    REQUIRE(world.ledger->total(0) + world.ledger->total(1) == 0);
  }
  CHECK(Weights::alive == 0);
}

TEST_CASE("two caches share one device's budget from several threads without a deadlock or a byte too many") {
  const auto ledger = std::make_shared<Ledger>();
  ledger->set_budget(1, 1000);
  ModelCacheOptions options;
  options.ledger = ledger;
  options.device = 1;
  const auto first = EnhancedModelCache::create(options).value();
  const auto second = EnhancedModelCache::create(options).value();
  std::vector<std::shared_ptr<Carrier>> carriers;
  for (int name = 0; name < 6; ++name)
    carriers.push_back(std::make_shared<Carrier>(ledger, 1, 150 + 50 * static_cast<std::uint64_t>(name)));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> well{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> other{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(thread);
      auto& cache = thread % 2 == 0 ? *first : *second;
      for (int round = 0; round < 400; ++round) {
        const auto name = random() % carriers.size();
        EntrySpec spec;
        spec.key = "m" + std::to_string(name);
        spec.carrier = carriers[name];
        spec.bytes = random() % 2 == 0 ? 150 + 50 * name : 0;
        const auto got = cache.acquire(spec, never);
        if (got) {
          ++well;
        } else {
          ++(got.error().status == Status::over_budget ? refused : other);
        }
        if (random() % 20 == 0) (void)cache.evict(spec.key);
      }
    });
  }
  std::thread frames([&] {
    for (std::uint64_t frame = 0; !stop; ++frame) {
      ledger->set_budget(1, frame % 2 == 0 ? 1000 : 600);
      (void)ledger->reclaim(1, ledger->excess(1));
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  frames.join();
  CHECK(other == 0);
  CHECK(well > 0);
  MESSAGE(well.load() << " uses, " << refused.load() << " refused");
  CHECK(ledger->account(1).peak <= 1000);
  first->clear();
  second->clear();
  CHECK(ledger->total(1) == 0);
}

TEST_CASE("options that cannot be are refused") {
  ModelCacheOptions options;
  CHECK(EnhancedModelCache::create(options).error().message == "the cache has no ledger");
  options.ledger = std::make_shared<Ledger>();
  options.device = 64;
  CHECK(EnhancedModelCache::create(options).error().status == Status::invalid_argument);
  options.device = 0;
  options.idle_us = -1;
  CHECK(EnhancedModelCache::create(options).error().message == "idle_us is -1; it must be at least 0");
}

TEST_CASE("what is loaded as it is used asks for nothing beforehand, and counts as what it holds when it is idle") {
  /// A payload whose bytes come and go while it is used.
  class Growing final : public EntryCarrier {
   public:
    Result<Loaded> load(const Cancelled&) override {
      return Loaded{std::make_shared<int>(1), 0, [this] { return held.load(); }};
    }
    std::atomic<std::uint64_t> held{0};
  };
  World world;
  world.ledger->set_budget(1, 100);
  const auto carrier = std::make_shared<Growing>();
  EntrySpec spec;
  spec.key = "model";
  spec.carrier = carrier;
  spec.bytes = 500;  // Whole it would never fit.
  CHECK(world.cache->acquire(spec, never).has_error());
  spec.loads_on_use = true;
  {
    const auto handle = world.cache->acquire(spec, never).value();
    CHECK(world.cache->statistics().bytes == 0);
    carrier->held = 60;
    CHECK(world.cache->reclaimable(1) == 0);
  }
  CHECK(world.cache->statistics().bytes == 60);
  CHECK(world.cache->reclaimable(1) == 60);
  {
    const auto handle = world.cache->acquire(spec, never).value();
    CHECK(handle.was_hit());
    carrier->held = 10;
  }
  CHECK(world.cache->reclaimable(1) == 10);
  CHECK(world.cache->reclaim(1, 5) == 10);
  CHECK(world.cache->statistics().bytes == 0);
  spec.loads_on_use = false;  // What it takes whole is not forgotten.
  CHECK(world.cache->acquire(spec, never).has_error());
}
