#include "queue/histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using gf::queue::Histogram;

TEST_CASE("golden: values and their buckets, worked by hand") {
  CHECK(Histogram::bucket_of(0) == 0);
  CHECK(Histogram::bucket_of(7) == 7);
  CHECK(Histogram::bucket_of(8) == 8);
  CHECK(Histogram::bucket_of(15) == 15);
  CHECK(Histogram::bucket_of(16) == 16);
  CHECK(Histogram::bucket_of(17) == 16);
  CHECK(Histogram::bucket_of(18) == 17);
  CHECK(Histogram::bucket_of(31) == 23);
  CHECK(Histogram::bucket_of(1024) == 64);
  CHECK(Histogram::upper_us(16) == 18);
  CHECK(Histogram::upper_us(64) == 1152);
}

TEST_CASE("every value lies below its bucket's upper bound and not below that of the bucket before") {
  std::mt19937_64 random(3);
  for (int draw = 0; draw < 100'000; ++draw) {
    const auto us = static_cast<std::int64_t>(random() >> (24 + random() % 40));
    const auto bucket = Histogram::bucket_of(us);
    REQUIRE(us < Histogram::upper_us(bucket));
    if (bucket > 0) REQUIRE(us >= Histogram::upper_us(bucket - 1));
  }
}

TEST_CASE("property: a quantile is at most an eighth above the exact one") {
  std::mt19937_64 random(5);
  Histogram histogram;
  std::vector<std::int64_t> values;
  for (int draw = 0; draw < 20'000; ++draw) {
    values.push_back(static_cast<std::int64_t>(random() % (1 << (1 + random() % 24))));
    histogram.add(values.back());
  }
  std::ranges::sort(values);
  for (const double q : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    CAPTURE(q);
    const auto rank = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(q * 20'000)));
    const auto exact = values[rank - 1];
    CHECK(histogram.quantile_us(q) > exact);
    CHECK(histogram.quantile_us(q) <= exact + exact / 8 + 1);
  }
}

TEST_CASE("what lies outside has the buckets at the ends, and nothing gives no quantile") {
  Histogram histogram;
  CHECK(histogram.quantile_us(0.5) == 0);
  histogram.add(-5);
  CHECK(histogram.quantile_us(1) == 1);
  histogram.add(std::numeric_limits<std::int64_t>::max());
  CHECK(Histogram::bucket_of(std::numeric_limits<std::int64_t>::max()) == Histogram::bucket_count - 1);
  CHECK(histogram.quantile_us(1) > std::int64_t{1} << 40);
  CHECK(histogram.count() == 2);
  CHECK(histogram.sum_us() == std::uint64_t{1} << 40);
  histogram.add_bucket(Histogram::bucket_count, 1, 1);  // None such.
  CHECK(histogram.count() == 2);
}
