// Spike detection: when errors of one kind come far more often than they used to.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace gf::error {

struct SpikeOptions {
  /// An alarm needs all three: so many errors in a window, so many times what the baseline makes one expect, and a
  /// count that the baseline brings forth less often than `tail`.
  std::uint32_t minimum_count = 12;
  double ratio = 2.0;
  double tail = 2e-8;
  /// Of the slow detector: the last day against the mean of those before it.
  double slow_ratio = 1.5;
};

/// What began or ended. `fast`: a window of up to an hour against the time before; `slow`: a day against the week.
struct SpikeChange {
  enum class What : std::uint32_t { opened = 0, resolved = 1 };
  enum class Kind : std::uint32_t { fast = 0, slow = 1 };
  What what = What::opened;
  Kind kind = Kind::fast;
  std::int64_t window_us = 0;  ///< 5 s, 60 s, 15 min or 1 h, over which its end is judged.
  double baseline_per_s = 0;   ///< As it was when the alarm opened.
  std::uint64_t count = 0;     ///< In the window; when resolved, since the alarm opened.
  std::int64_t opened_us = 0;
  bool gave_up = false;  ///< Resolved because the new rate stood for a day and is now the baseline.
};

/// Counts one kind of error and tells when its rate jumps. About 900 bytes, no allocation, no clock.
///
/// Method: counts of seconds, minutes, hours and days in rings. A window of 2 s to 1 h that ends now raises an alarm
/// when its count is improbable (`tail`) under the baseline of the time before it. Expected and past counts are both
/// random, so the tail is the negative binomial one, which is Poisson's with the rate's own uncertainty (a gamma
/// posterior of the rate with Jeffreys' prior; Gelman et al., "Bayesian Data Analysis", 3rd ed., section 2.6). The
/// baseline reaches back an hour, or further where fewer than 40 errors lie in it, up to a day; times in which an alarm
/// stood are left out, so that a spike never raises its own threshold. An alarm ends when its window held an ordinary
/// count for a quarter of itself.
///
/// Threads: not synchronised; its owner guards it.
class SpikeDetector {
 public:
  /// `start_us`: since when errors would have been counted. Times are microseconds, and do not fall.
  explicit SpikeDetector(std::int64_t start_us = 0, const SpikeOptions& options = {});

  /// `count` errors at `now_us`.
  std::optional<SpikeChange> add(std::int64_t now_us, std::uint32_t count);
  /// Time has passed. Needed now and then while an alarm stands, and once a day; costs nothing within one second.
  std::optional<SpikeChange> tick(std::int64_t now_us);

  bool is_open() const { return fast_.open || slow_.open; }
  /// The errors of the last so many seconds, up to a day, in whole seconds, minutes or hours (whatever is finer).
  std::uint64_t recent(std::int64_t now_us, std::int64_t seconds) const;

 private:
  static constexpr std::uint32_t seconds_kept = 64;
  static constexpr std::uint32_t minutes_kept = 64;
  static constexpr std::uint32_t hours_kept = 32;
  static constexpr std::uint32_t days_kept = 8;
  static constexpr std::array<std::uint32_t, 10> second_windows = {2, 3, 5, 8, 12, 18, 25, 35, 45, 60};
  static constexpr std::array<std::uint32_t, 13> minute_windows = {2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60};

  struct Baseline {
    double count = 0;
    double seconds = 0;
    double rate() const { return seconds > 0 ? count / seconds : 0; }
  };
  struct Alarm {
    bool open = false;
    std::int64_t opened_s = 0;
    std::uint64_t count = 0;
    double rate = 0;  // The baseline, frozen.
    std::uint32_t window_s = 0;
    std::int64_t calm_since_s = 0;  // -1: not calm.
  };

  void advance(std::int64_t second);
  Baseline baseline(std::int64_t excluded_minutes) const;
  static double allowance(std::uint32_t window_s);
  void set_thresholds();
  double threshold(const Baseline& base, double window_s, double allowance) const;
  std::uint64_t last_seconds(std::uint32_t seconds) const;
  std::uint64_t last_minutes(std::uint32_t minutes) const;
  std::optional<SpikeChange> look();
  std::optional<SpikeChange> look_for_end();
  std::optional<SpikeChange> look_at_days();

  SpikeOptions options_;
  std::int64_t start_s_;
  std::int64_t now_s_;
  std::int64_t looked_at_day_;
  std::int64_t thresholds_of_minute_ = -1;
  std::int64_t calm_since_s_;  // Windows reach back no further: before that an alarm stood.
  std::array<std::uint32_t, seconds_kept> seconds_{};
  std::array<std::uint32_t, minutes_kept> minutes_{};
  std::array<std::uint32_t, hours_kept> hours_{};
  std::array<std::uint32_t, days_kept> days_{};
  // Bit n: an alarm stood in that minute, hour or day of the ring.
  std::uint64_t spiked_minutes_ = 0;
  std::uint32_t spiked_hours_ = 0;
  std::uint32_t spiked_days_ = 0;
  std::array<std::uint32_t, second_windows.size()> second_thresholds_{};
  std::array<std::uint32_t, minute_windows.size()> minute_thresholds_{};  // Of windows a minute shorter.
  Alarm fast_;
  Alarm slow_;
};

}  // namespace gf::error
