#include "queue/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gf::queue {
namespace {

constexpr std::int64_t longest_us = std::int64_t{1} << 40;

}  // namespace

std::size_t Histogram::bucket_of(std::int64_t us) {
  const auto value = static_cast<std::uint64_t>(std::clamp<std::int64_t>(us, 0, longest_us));
  if (value < 8) return static_cast<std::size_t>(value);
  const auto exponent = static_cast<unsigned>(std::bit_width(value) - 1);  // At least 3.
  return std::size_t{8} * (exponent - 2) + ((value >> (exponent - 3)) & 7);
}

std::int64_t Histogram::upper_us(std::size_t bucket) {
  if (bucket < 8) return static_cast<std::int64_t>(bucket) + 1;
  const auto exponent = bucket / 8 + 2;
  return static_cast<std::int64_t>((std::uint64_t{8} + bucket % 8 + 1) << (exponent - 3));
}

void Histogram::add(std::int64_t us, std::uint64_t times) {
  buckets_[bucket_of(us)] += times;
  count_ += times;
  sum_us_ += static_cast<std::uint64_t>(std::clamp<std::int64_t>(us, 0, longest_us)) * times;
}

void Histogram::add_bucket(std::size_t bucket, std::uint64_t times, std::int64_t sum_us) {
  if (bucket >= bucket_count) return;
  buckets_[bucket] += times;
  count_ += times;
  sum_us_ += static_cast<std::uint64_t>(std::max<std::int64_t>(sum_us, 0));
}

std::int64_t Histogram::quantile_us(double q) const {
  if (count_ == 0) return 0;
  const auto rank = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank) return upper_us(bucket);
  }
  return upper_us(bucket_count - 1);
}

}  // namespace gf::queue
