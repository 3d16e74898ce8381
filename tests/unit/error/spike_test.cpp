#include "error/spike.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <random>
#include <string>
#include <vector>

using gf::error::SpikeChange;
using gf::error::SpikeDetector;

namespace {

constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t hour_s = 3600;
constexpr std::int64_t day_s = 86400;

/// Draws Poisson counts: by inversion (Devroye 1986, chapter X.3), which is exact and, for the small means of one
/// second, faster than the library's.
class Poisson {
 public:
  explicit Poisson(std::uint64_t seed) : random_(seed) {}

  std::uint32_t operator()(double mean) {
    if (mean > 60) return static_cast<std::uint32_t>(std::poisson_distribution<std::uint32_t>(mean)(random_));
    double probability = std::exp(-mean);
    double u = static_cast<double>(random_() >> 11) * 0x1p-53;
    std::uint32_t k = 0;
    while (u > probability && k < 1000) {
      u -= probability;
      probability *= mean / ++k;
    }
    return k;
  }
  std::uint64_t bits() { return random_(); }

 private:
  std::mt19937_64 random_;
};

struct Traffic {
  double rate = 1;       // Errors a second, on average.
  double amplitude = 0;  // Of a daily rhythm, relative to it.

  double at(std::int64_t second) const {
    if (amplitude == 0) return rate;
    return rate * (1 + amplitude * std::sin(2 * std::numbers::pi * static_cast<double>(second % day_s) / day_s));
  }
};

/// Alarms over quiet days.
int false_alarms(const Traffic& traffic, int days, std::uint64_t seed) {
  Poisson poisson(seed);
  SpikeDetector detector(0);
  int opened = 0;
  for (std::int64_t second = 0; second < days * day_s; ++second) {
    const auto count = poisson(traffic.at(second));
    const auto now = second * second_us;
    const auto change = count > 0 ? detector.add(now, count) : detector.tick(now);
    if (change && change->what == SpikeChange::What::opened) ++opened;
  }
  return opened;
}

struct Found {
  int spikes = 0;
  int found = 0;    // Before 60 errors of the spike were over.
  int in_time = 0;  // Within 5 s, or within the time that 30 errors take.
  int false_ones = 0;
  int resolved = 0;  // Before the next spike.
};

/// Five-fold spikes of 60 errors each, at random moments some hours apart.
Found find_spikes(const Traffic& traffic, int spikes, std::uint64_t seed) {
  Poisson poisson(seed);
  SpikeDetector detector(0);
  Found out;
  std::int64_t second = 0;
  bool open = false;
  const auto run = [&](std::int64_t until, double factor) -> std::int64_t {
    std::int64_t first = -1;
    for (; second < until; ++second) {
      const auto count = poisson(traffic.at(second) * factor);
      const auto now = second * second_us;
      const auto change = count > 0 ? detector.add(now, count) : detector.tick(now);
      if (!change || change->kind != SpikeChange::Kind::fast) continue;
      open = change->what == SpikeChange::What::opened;
      if (open && first < 0) first = second;
    }
    return first;
  };
  run(day_s + static_cast<std::int64_t>(poisson.bits() % day_s), 1);
  for (int index = 0; index < spikes; ++index) {
    if (run(second + 4 * hour_s + static_cast<std::int64_t>(poisson.bits() % (6 * hour_s)), 1) >= 0) ++out.false_ones;
    if (!open) ++out.resolved;
    ++out.spikes;
    const auto begun = second;
    const auto spiked = traffic.at(begun) * 5;
    // Whole seconds, so that a short spike brings its 60 too.
    const auto found = run(begun + static_cast<std::int64_t>(std::ceil(60 / spiked)), 5);
    if (found < 0) continue;
    ++out.found;
    const double limit_s = traffic.at(begun) >= 2 ? 5 : 30 / spiked;
    if (static_cast<double>(found - begun + 1) <= std::max(limit_s, 1.0)) ++out.in_time;
  }
  return out;
}

int setting(const char* name, int standard) {
  const auto* text = std::getenv(name);
  return text == nullptr ? standard : std::atoi(text);
}

}  // namespace

TEST_CASE("a step to ten times for an hour opens one alarm and closes it, and the next spike alarms again") {
  const auto seed = static_cast<std::uint64_t>(setting("GAMEFORGE_SPIKE_STEP_SEED", 1));
  Poisson poisson(seed);
  SpikeDetector detector(0);
  std::vector<SpikeChange> changes;
  std::vector<std::int64_t> at;
  for (std::int64_t second = 0; second < 2 * day_s; ++second) {
    const bool spike =
        (second >= 30 * hour_s && second < 31 * hour_s) || (second >= 35 * hour_s && second < 36 * hour_s);
    const auto change = detector.add(second * second_us, poisson(spike ? 2 : 0.2));
    if (!change) continue;
    changes.push_back(*change);
    at.push_back(second);
  }
  REQUIRE(changes.size() == 4);
  for (const std::size_t first : {0u, 2u}) {
    const auto begun = (first == 0 ? 30 : 35) * hour_s;
    CHECK(changes[first].what == SpikeChange::What::opened);
    CHECK(changes[first].baseline_per_s == doctest::Approx(0.2).epsilon(0.2));
    const auto window_s = changes[first].window_us / second_us;
    CHECK(at[first] >= begun);
    CHECK(at[first] <= begun + 2 * window_s);
    CHECK(changes[first + 1].what == SpikeChange::What::resolved);
    CHECK(changes[first + 1].opened_us == changes[first].opened_us);
    CHECK(at[first + 1] >= begun + hour_s);
    CHECK(at[first + 1] <= begun + hour_s + 2 * window_s);
    CHECK(changes[first + 1].count == doctest::Approx(7200).epsilon(0.1));
  }
}

TEST_CASE("a rate that stays up for a day is the new rate") {
  Poisson poisson(7);
  SpikeDetector detector(0);
  std::vector<SpikeChange> changes;
  for (std::int64_t second = 0; second < 5 * day_s; ++second) {
    const auto change = detector.add(second * second_us, poisson(second < 2 * day_s ? 0.2 : 2));
    if (change && change->kind == SpikeChange::Kind::fast) changes.push_back(*change);
  }
  REQUIRE(changes.size() >= 2);
  CHECK(changes[1].what == SpikeChange::What::resolved);
  CHECK(changes[1].gave_up);
  CHECK(changes.size() == 2);
}

TEST_CASE("growth of a fifth a day alarms by day 5, and flat days do not") {
  for (const double growth : {1.2, 1.0}) {
    CAPTURE(growth);
    Poisson poisson(3);
    SpikeDetector detector(0);
    std::int64_t alarm_day = -1;
    for (std::int64_t second = 0; second < 9 * day_s; ++second) {
      const auto day = second / day_s;
      const auto change = detector.add(second * second_us, poisson(0.01 * std::pow(growth, static_cast<double>(day))));
      if (change && change->what == SpikeChange::What::opened && alarm_day < 0) {
        CHECK(change->kind == SpikeChange::Kind::slow);
        alarm_day = day;
      }
    }
    if (growth > 1) {
      CHECK(alarm_day >= 3);
      CHECK(alarm_day <= 5);
    } else {
      CHECK(alarm_day == -1);
    }
  }
}

TEST_CASE("quiet days at three errors an hour raise under one alarm in a hundred") {
  const auto days = setting("GAMEFORGE_SPIKE_DAYS", 20);
  const auto seed = std::random_device()();
  MESSAGE("seed " << seed);
  CHECK(false_alarms({3.0 / 3600, 0}, 5 * days, seed) <= 5 * days / 100 + 1);
}

TEST_CASE("simulated traffic: few false alarms, and spikes of 60 errors are found in time") {
  // The table of the issue runs under the label `full`: 20 seeds, 100 days, 50 spikes a seed. Here a sample of it.
  const auto seeds = setting("GAMEFORGE_SPIKE_SEEDS", 1);
  const auto days = setting("GAMEFORGE_SPIKE_DAYS", 3);
  const auto spikes = setting("GAMEFORGE_SPIKE_COUNT", 10);
  const auto first =
      static_cast<std::uint32_t>(setting("GAMEFORGE_SPIKE_SEED", static_cast<int>(std::random_device()() >> 1)));
  MESSAGE("first seed " << first);
  const auto only = setting("GAMEFORGE_SPIKE_ONLY", -1);  // One of the rates, from 0.
  const std::vector<double> rates = {0.02, 0.2, 2.0, 20.0};
  for (const double rate : rates) {
    if (only >= 0 && rate != rates[static_cast<std::size_t>(only) % rates.size()]) continue;
    for (const double amplitude : {0.0, 0.5}) {
      int alarms = 0;
      Found all;
      for (int index = 0; index < seeds; ++index) {
        const auto seed = first + static_cast<std::uint64_t>(index);
        alarms += false_alarms({rate, amplitude}, days, seed);
        const auto found = find_spikes({rate, amplitude}, spikes, seed + 1'000'000);
        all.spikes += found.spikes;
        all.found += found.found;
        all.in_time += found.in_time;
        all.false_ones += found.false_ones;
        all.resolved += found.resolved;
      }
      CAPTURE(rate);
      CAPTURE(amplitude);
      MESSAGE(rate << "/s, rhythm " << amplitude << ": " << alarms << " false alarms in " << seeds * days
                   << " days; of " << all.spikes << " spikes " << all.found << " found, " << all.in_time << " in time, "
                   << all.false_ones << " false beside them, " << all.resolved << " resolved");
      // At most one in 100 days, and one more for a short run; of the spikes two, since ten tell little of one in a
      // hundred.
      CHECK(alarms * 100 <= seeds * days + 100);
      // In the trough of a rhythm on 0.02 a second only 36 errors come in an hour, and 98.9 % were found.
      const int share = rate < 0.1 && amplitude > 0 ? 98 : 99;
      CHECK(all.found * 100 >= all.spikes * share - 200);
    }
  }
}

TEST_CASE("an alarm needs a count, a ratio and a past") {
  SUBCASE("a handful after silence is none") {
    SpikeDetector detector(0);
    for (int index = 0; index < 11; ++index) CHECK_FALSE(detector.add((day_s + index) * second_us, 1));
  }
  SUBCASE("many after silence are") {
    SpikeDetector detector(0);
    bool opened = false;
    for (int index = 0; index < 20; ++index)
      opened = opened || detector.add((day_s + index) * second_us, 1).has_value();
    CHECK(opened);
  }
  SUBCASE("without a past nothing is unusual") {
    SpikeDetector detector(day_s * second_us);
    for (int index = 0; index < 200; ++index) CHECK_FALSE(detector.add((day_s + index) * second_us, 5));
  }
}

TEST_CASE("counts saturate, a clock that stands or steps back does no harm, and years may pass between errors") {
  SpikeDetector detector(0);
  (void)detector.add(10 * second_us, 0xFFFFFFFF);
  (void)detector.add(10 * second_us, 0xFFFFFFFF);
  (void)detector.add(5 * second_us, 1);
  CHECK(detector.recent(10 * second_us, 60) == 0xFFFFFFFF);
  const auto later = std::int64_t{70} * 365 * day_s * second_us;
  (void)detector.add(later, 3);
  CHECK(detector.recent(later, 60) == 3);
  CHECK(detector.recent(later, day_s) == 3);
  CHECK(detector.recent(later + 61 * second_us, 60) == 0);
  CHECK(detector.recent(later + 2 * day_s * second_us, day_s) == 0);
}
