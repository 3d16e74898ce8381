#include "error/aggregator.hpp"

#include "error/fingerprint.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

using gf::Error;
using gf::Severity;
using gf::Status;
using gf::error::AggregatorOptions;
using gf::error::ErrorAggregator;
using gf::error::ErrorAlert;
using gf::error::ErrorTags;

namespace {

constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t day_us = 86'400 * second_us;

std::unique_ptr<ErrorAggregator> aggregator_of(const AggregatorOptions& options = {}, std::int64_t start_us = 0) {
  auto made = ErrorAggregator::create(options, start_us);
  REQUIRE(made.has_value());
  return std::move(made).value();
}

Error network(const std::string& what) { return Error{Status::network_error, what, {}}; }
Error corrupt(const std::string& what) { return Error{Status::corrupt_file, what, {}}; }

/// A text of letters alone, so that each number makes a group.
std::string word(std::uint32_t number) {
  std::string out = "w";
  for (; number > 0; number /= 20) out += static_cast<char>('a' + number % 20);
  return out;
}

}  // namespace

TEST_CASE("errors of one kind are one group with first and last time, sample and counts") {
  const auto all = aggregator_of();
  for (int index = 0; index < 5; ++index) all->record(network("host " + std::to_string(index)), {}, index * second_us);
  all->record(corrupt("x"), {}, 9 * second_us);
  const auto top = all->top(10 * second_us, 60 * second_us, 10);
  REQUIRE(top.size() == 2);
  CHECK(top[0].total == 5);
  CHECK(top[0].in_window == 5);
  CHECK(top[0].first_us == 0);
  CHECK(top[0].last_us == 4 * second_us);
  CHECK(top[0].sample == "host 4");
  CHECK(top[0].title == "network_error in {anonymous}::network");
  CHECK(top[0].by_severity[static_cast<std::size_t>(Severity::error)] == 5);
  CHECK(top[1].status == Status::corrupt_file);
  CHECK(all->top(10 * second_us, 3 * second_us, 10).size() == 1);
  CHECK(all->find(top[1].fingerprint, 10 * second_us)->total == 1);
  CHECK_FALSE(all->find(12345, 0).has_value());
}

TEST_CASE("groups are bounded: the least recent go, their errors are counted, and no group is found twice") {
  AggregatorOptions options;
  options.group_limit = 100;
  options.template_limit = 50;
  const auto all = aggregator_of(options);
  std::mt19937 random(3);
  std::uint64_t sent = 0;
  for (std::uint32_t index = 0; index < 20000; ++index, ++sent) {
    all->record_text("driver", word(random() % 300), Severity::error, {}, index * 1000);
  }
  all->record(network("own"), {}, 21 * second_us);
  const auto now = 21 * second_us;
  const auto statistics = all->statistics();
  CHECK(statistics.errors == sent + 1);
  CHECK(statistics.groups == 51);  // 50 of texts, and ours.
  const auto top = all->top(now, 3600 * second_us, 1000);
  CHECK(top.size() == 51);
  std::uint64_t held = 0;
  for (const auto& group : top) held += group.total;
  CHECK(held + statistics.evicted_errors == sent + 1);
  CHECK(statistics.lost_errors == 0);
  // The one that was asked for last is still there.
  all->record_text("driver", "the newest", Severity::error, {}, now);
  for (std::uint32_t index = 0; index < 49; ++index)
    all->record_text("driver", word(1000 + index), Severity::error, {}, now);
  bool there = false;
  for (const auto& group : all->top(now, 3600 * second_us, 1000)) there = there || group.sample == "the newest";
  CHECK(there);
}

TEST_CASE("a day of made-up noise stays below its memory") {
  AggregatorOptions options;
  options.template_limit = 1000;
  const auto all = aggregator_of(options);
  std::mt19937 random(4);
  for (std::uint32_t index = 0; index < 86400; ++index) {
    all->record_text("driver", word(random()) + " failed for " + std::to_string(random()), Severity::error, {},
                     index * second_us);
  }
  CHECK(all->statistics().groups == 1000);
  CHECK(all->statistics().bytes < 2u << 20);
}

TEST_CASE("one spike is two alerts, opened and resolved with its total; a standing one is told each hour") {
  const auto all = aggregator_of();
  const auto quiet = 2 * day_us;
  std::int64_t now = quiet;
  std::vector<ErrorAlert> alerts;
  const auto run = [&](std::int64_t seconds, int each) {
    for (std::int64_t second = 0; second < seconds; ++second, now += second_us) {
      for (int index = 0; index < each; ++index) all->record(network("x"), {}, now);
      all->tick(now);
      while (auto alert = all->next_alert()) alerts.push_back(std::move(*alert));
    }
  };
  SUBCASE("ten minutes") {
    run(600, 3);
    CHECK(all->needs_tick());
    run(7200, 0);
    REQUIRE(alerts.size() == 2);
    CHECK(alerts[0].what == ErrorAlert::What::opened);
    CHECK(alerts[0].at_us < quiet + 10 * second_us);
    CHECK(alerts[0].group.status == Status::network_error);
    CHECK(alerts[1].what == ErrorAlert::What::resolved);
    CHECK(alerts[1].spike.count == doctest::Approx(1800).epsilon(0.02));
    CHECK_FALSE(all->needs_tick());
  }
  SUBCASE("two and a half hours") {
    run(9000, 2);
    run(7200, 0);
    REQUIRE(alerts.size() == 4);
    CHECK(alerts[1].what == ErrorAlert::What::still);
    CHECK(alerts[2].what == ErrorAlert::What::still);
    CHECK(alerts[2].at_us - alerts[1].at_us == 3600 * second_us);
    CHECK(alerts[3].what == ErrorAlert::What::resolved);
  }
}

TEST_CASE("a group that was resolved is held back while it cools down, and groups below the severity always") {
  AggregatorOptions options;
  options.cooldown_us = day_us;
  const auto all = aggregator_of(options);
  std::int64_t now = 2 * day_us;
  int alerts = 0;
  const auto spike = [&](const Error& error) {
    for (int second = 0; second < 3 * 3600; ++second, now += second_us) {
      if (second < 60) {
        for (int index = 0; index < 5; ++index) all->record(error, {}, now);
      }
      all->tick(now);
      while (all->next_alert()) ++alerts;
    }
  };
  spike(network("x"));
  CHECK(alerts == 2);
  spike(network("x"));
  CHECK(alerts == 2);
  CHECK(all->statistics().alerts_held_back >= 1);
  now += 2 * day_us;
  spike(network("x"));
  CHECK(alerts == 4);
  spike(Error{Status::would_block, "info", {}});
  CHECK(alerts == 4);
}

TEST_CASE("patterns: groups of the same minutes, groups of one model, groups new in a version") {
  const auto all = aggregator_of();
  all->set_version("1.0");
  std::int64_t now = 0;
  for (int minute = 0; minute < 40; ++minute, now += 60 * second_us) {
    if (minute % 4 == 0) {
      all->record(network("a"), {.model = "sdxl", .user = "u" + std::to_string(minute), .device = "gpu0"}, now);
      all->record(corrupt("b"), {.model = "m" + std::to_string(minute), .user = "ann", .device = "gpu0"}, now + 1);
    }
    if (minute == 20) all->set_version("1.1");
    if (minute > 20 && minute % 5 == 0) {
      all->record(Error{Status::disk_full, "c", {}}, {.model = "other", .user = "bob", .device = "gpu0"}, now);
    }
  }
  const auto patterns = all->patterns(now);
  REQUIRE(patterns.together.size() == 1);
  CHECK(patterns.together[0].share == doctest::Approx(1));
  REQUIRE(patterns.new_in_version.size() == 1);
  CHECK(all->find(patterns.new_in_version[0], now)->status == Status::disk_full);
  CHECK(all->find(patterns.new_in_version[0], now)->first_version == "1.1");
  bool to_model = false;
  bool to_user = false;
  for (const auto& tie : patterns.tied) {
    CHECK(tie.to != "device");  // All errors came from the one device.
    if (tie.to == "model" && tie.value == "sdxl") to_model = true;
    if (tie.to == "user" && tie.value == "ann") to_user = true;
  }
  CHECK(to_model);
  CHECK(to_user);
}

TEST_CASE("threads record, look and tick at a time, and every error is counted") {
  AggregatorOptions options;
  options.group_limit = 20;
  options.template_limit = 10;
  const auto all = aggregator_of(options);
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  for (std::uint32_t index = 0; index < 4; ++index) {
    threads.emplace_back([&, index] {
      for (std::uint32_t turn = 0; turn < 3000; ++turn) {
        all->record_text("driver", word(turn * 7 % 50 + index), Severity::error, {.model = "m"}, turn * 1000);
      }
    });
  }
  std::thread reader([&] {
    while (!over) {
      (void)all->top(3 * second_us, 60 * second_us, 5);
      (void)all->patterns(3 * second_us);
      all->tick(3 * second_us);
      while (all->next_alert()) {
      }
    }
  });
  for (auto& thread : threads) thread.join();
  over = true;
  reader.join();
  CHECK(all->statistics().errors == 12000);
}

TEST_CASE("endless and broken texts are cut between code points") {
  const auto all = aggregator_of();
  std::string text(190, 'x');
  text += "\xC3\xA9\xC3\xA9";  // Two letters of two bytes; the limit falls into the first.
  all->record(network(text), {}, 0);
  CHECK(all->top(0, second_us, 1)[0].sample == std::string(190, 'x'));
  all->record(network(std::string(1 << 20, '\xff')), {.model = std::string_view(text)}, -5);
  CHECK(all->statistics().errors == 2);
}

TEST_CASE("options out of range are refused by name") {
  struct Row {
    void (*change)(AggregatorOptions&);
    std::string named;
  };
  const std::vector<Row> rows = {
      {[](AggregatorOptions& o) { o.group_limit = 0; }, "group_limit is 0"},
      {[](AggregatorOptions& o) { o.group_limit = 65536; }, "group_limit is 65536"},
      {[](AggregatorOptions& o) { o.template_limit = 0; }, "template_limit is 0"},
      {[](AggregatorOptions& o) { o.template_limit = 4097; }, "template_limit is 4097"},
      {[](AggregatorOptions& o) { o.cooldown_us = -1; }, "cooldown_us is -1"},
      {[](AggregatorOptions& o) { o.still_every_us = 999'999; }, "still_every_us is 999999"},
      {[](AggregatorOptions& o) { o.alert_limit = 0; }, "alert_limit is 0"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    AggregatorOptions options;
    row.change(options);
    const auto made = ErrorAggregator::create(options, 0);
    REQUIRE(made.has_error());
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.starts_with(row.named));
  }
}
