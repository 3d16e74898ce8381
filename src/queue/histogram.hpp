// Histogram: how long things took, in constant memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gf::queue {

/// Counts durations in microseconds in buckets whose bounds grow by an eighth of their power of two, so that a quantile
/// is known to 12.5 %. Values below 8 have a bucket each; below 0 counts as 0, above 2^40 (12 days) as 2^40.
/// The same numbering of buckets is used in Redis.
///
/// Source: the log-linear buckets of HdrHistogram (Gil Tene), with three bits of precision.
/// Threads: not synchronised; its owner guards it. Adding is O(1), a quantile O(buckets).
class Histogram {
 public:
  static constexpr std::size_t bucket_count = 8 * (40 - 3 + 1) + 1;

  static std::size_t bucket_of(std::int64_t us);
  /// The smallest value that does not belong to the bucket any more.
  static std::int64_t upper_us(std::size_t bucket);

  void add(std::int64_t us, std::uint64_t times = 1);
  /// Counts that were kept elsewhere. Buckets that do not exist are left out.
  void add_bucket(std::size_t bucket, std::uint64_t times, std::int64_t sum_us);

  std::uint64_t count() const { return count_; }
  std::uint64_t sum_us() const { return sum_us_; }
  /// The upper bound of the bucket in which the q-th part (0 to 1) of all values ends; 0 when there are none.
  std::int64_t quantile_us(double q) const;
  const std::array<std::uint64_t, bucket_count>& buckets() const { return buckets_; }

 private:
  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_us_ = 0;
};

}  // namespace gf::queue
