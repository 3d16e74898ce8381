// Memory pressure: four levels of how full a device is, with hysteresis, and how often one looks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gf::cache {

/// Values of gf_memory_pressure.
enum class PressureLevel : std::uint32_t { none = 0, moderate = 1, high = 2, critical = 3 };
std::string_view name_of(PressureLevel level);

/// Shares are of what may be used: 1 is the limit.
struct PressureRules {
  std::array<double, 3> rise = {0.80, 0.90, 0.97};  ///< Moderate, high, critical begin here.
  double fall_margin = 0.05;                        ///< A level ends so far below where it begins,
  std::int64_t fall_hold_us = 250'000;              ///< and only when that has lasted so long.
  double near = 0.80;                               ///< From here on one looks often.
  std::int64_t near_period_us = 10'000;
  std::int64_t far_period_us = 50'000;
};

/// The level of one device. It rises at once, as many levels as there are, and falls late: a share that flaps across a
/// threshold by less than the margin, or for less than the hold, changes it once. Not synchronised; its owner guards
/// it.
class PressureGauge {
 public:
  explicit PressureGauge(const PressureRules& rules = {}) : rules_(rules) {}

  /// The new level where it changed.
  std::optional<PressureLevel> update(double share, std::int64_t now_us);
  PressureLevel level() const { return level_; }
  /// When to look next.
  std::int64_t period_us() const { return share_ >= rules_.near ? rules_.near_period_us : rules_.far_period_us; }
  double share() const { return share_; }

 private:
  PressureRules rules_;
  PressureLevel level_ = PressureLevel::none;
  double share_ = 0;
  /// Since when the share has been below where each level ends; empty where it is not.
  std::array<std::optional<std::int64_t>, 3> below_since_us_{};
};

}  // namespace gf::cache
