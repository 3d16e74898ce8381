#include "error/spike.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gf::error {
namespace {

constexpr std::int64_t minute_s = 60;
constexpr std::int64_t hour_s = 3600;
constexpr std::int64_t day_s = 86400;

void add_saturated(std::uint32_t& sum, std::uint32_t count) {
  sum =
      count > std::numeric_limits<std::uint32_t>::max() - sum ? std::numeric_limits<std::uint32_t>::max() : sum + count;
}

/// The smallest k with P(X >= k) < tail for a negative binomial X of that mean and shape (shape to infinity: Poisson).
double improbable_count(double mean, double shape, double tail) {
  if (mean <= 0) return 1;
  if (mean > 200) {
    // Far above, where the ratio decides anyhow: normal with the third moment's correction (Cornish and Fisher 1937).
    const double variance = mean + mean * mean / shape;
    const double z = 6.0;
    return mean + std::sqrt(variance) * z + (z * z - 1) / 6 * (1 + 2 * mean / shape);
  }
  const double q = mean / (mean + shape);
  double probability = std::exp(shape * std::log1p(-q));
  double below = 0;
  // 64 sd past the mean: the loop ends long before; the bound is for arithmetic that went wrong.
  const int limit = 1000 + static_cast<int>(mean + 64 * std::sqrt(mean + mean * mean / shape));
  for (int k = 0; k < limit; ++k) {
    below += probability;
    // 1 - below loses its digits near 1e-16; the tails asked for lie far above.
    if (1 - below < tail) return k + 1;
    probability *= (shape + k) / (k + 1) * q;
  }
  return limit;
}

}  // namespace

SpikeDetector::SpikeDetector(std::int64_t start_us, const SpikeOptions& options)
    : options_(options),
      start_s_(start_us / 1'000'000),
      now_s_(start_s_),
      looked_at_day_(start_s_ / day_s),
      calm_since_s_(start_s_) {}

void SpikeDetector::advance(std::int64_t second) {
  if (second <= now_s_) return;
  const auto clear = [](auto& ring, std::int64_t from, std::int64_t to, auto& flags, bool flag) {
    const auto size = static_cast<std::int64_t>(ring.size());
    for (auto at = std::max(from + 1, to - size + 1); at <= to; ++at) {
      const auto index = static_cast<std::size_t>(at % size);
      ring[index] = 0;
      const auto bit = static_cast<std::remove_reference_t<decltype(flags)>>(1) << index;
      flags = flag ? flags | bit : flags & ~bit;
    }
  };
  std::uint64_t none = 0;
  clear(seconds_, now_s_, second, none, false);
  // What began while an alarm stood is no baseline, as far as we can tell before it ends.
  if (second / minute_s != now_s_ / minute_s) {
    clear(minutes_, now_s_ / minute_s, second / minute_s, spiked_minutes_, fast_.open);
  }
  if (second / hour_s != now_s_ / hour_s) {
    clear(hours_, now_s_ / hour_s, second / hour_s, spiked_hours_, fast_.open);
  }
  if (second / day_s != now_s_ / day_s) clear(days_, now_s_ / day_s, second / day_s, spiked_days_, fast_.open);
  now_s_ = second;
}

std::uint64_t SpikeDetector::last_seconds(std::uint32_t seconds) const {
  std::uint64_t sum = 0;
  for (std::uint32_t back = 0; back < seconds; ++back) {
    if (now_s_ < back) break;
    sum += seconds_[static_cast<std::size_t>((now_s_ - back) % seconds_kept)];
  }
  return sum;
}

std::uint64_t SpikeDetector::last_minutes(std::uint32_t minutes) const {
  std::uint64_t sum = 0;
  const auto minute = now_s_ / minute_s;
  for (std::uint32_t back = 0; back < minutes; ++back) {
    if (minute < back) break;
    sum += minutes_[static_cast<std::size_t>((minute - back) % minutes_kept)];
  }
  return sum;
}

SpikeDetector::Baseline SpikeDetector::baseline(std::int64_t excluded_minutes) const {
  Baseline out;
  const auto minute = now_s_ / minute_s;
  const auto begin_minute = (start_s_ + minute_s - 1) / minute_s;
  // Whole minutes back to an hour ago.
  const auto oldest_minute = std::max({begin_minute, minute - 60, std::int64_t{0}});
  for (auto at = minute - 1 - excluded_minutes; at >= oldest_minute; --at) {
    const auto index = static_cast<std::size_t>(at % minutes_kept);
    if ((spiked_minutes_ >> index & 1) != 0) continue;
    out.count += minutes_[index];
    out.seconds += minute_s;
  }
  // Whole hours before that, as many as give a count that means something.
  constexpr double enough = 40;
  const auto hour = now_s_ / hour_s;
  const auto begin_hour = (start_s_ + hour_s - 1) / hour_s;
  const auto newest_hour = (std::min(minute - 60, minute - 1 - excluded_minutes) * minute_s) / hour_s - 1;
  const auto oldest_hour = std::max({begin_hour, hour - 25, std::int64_t{0}});
  for (auto at = newest_hour; at >= oldest_hour && out.count < enough; --at) {
    const auto index = static_cast<std::size_t>(at % hours_kept);
    if ((spiked_hours_ >> index & 1) != 0) continue;
    out.count += hours_[index];
    out.seconds += hour_s;
  }
  return out;
}

double SpikeDetector::threshold(const Baseline& base, double window_s, double allowance) const {
  // Without a past nothing is unusual.
  if (base.seconds < window_s || base.seconds < 300) return std::numeric_limits<double>::infinity();
  const double shape = base.count + 0.5;
  const double mean = shape / base.seconds * window_s;
  return std::max({improbable_count(mean * allowance, shape, options_.tail), std::ceil(options_.ratio * mean),
                   static_cast<double>(options_.minimum_count)});
}

/// The longer the window, the older its baseline, and the further a daily rhythm may have moved meanwhile.
double SpikeDetector::allowance(std::uint32_t window_s) { return window_s <= 15 * 60 ? 1.05 : 1.3; }

void SpikeDetector::set_thresholds() {
  const auto minute = now_s_ / minute_s;
  if (thresholds_of_minute_ == minute) return;
  thresholds_of_minute_ = minute;
  const auto whole = [](double count) {
    constexpr double most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::min(count, most));
  };
  // The last whole minute may belong to what the window sees.
  const auto near = baseline(1);
  for (std::size_t index = 0; index < second_windows.size(); ++index) {
    second_thresholds_[index] = whole(threshold(near, second_windows[index], allowance(second_windows[index])));
  }
  for (std::size_t index = 0; index < minute_windows.size(); ++index) {
    const auto window = minute_windows[index];
    minute_thresholds_[index] = whole(threshold(baseline(window), (window - 1) * 60 + 1, allowance(window * 60)));
  }
}

std::optional<SpikeChange> SpikeDetector::look() {
  if (fast_.open) return std::nullopt;
  set_thresholds();
  const auto open = [&](std::uint32_t window_s, std::uint64_t count, double rate) {
    // Its end is judged over one of four windows, the first that the spike fills well, or chance would end it.
    std::uint32_t end_window_s = hour_s;
    for (const std::uint32_t candidate : {900u, 60u, 5u}) {
      if (candidate >= window_s && count * candidate >= 40 * std::uint64_t{window_s}) end_window_s = candidate;
    }
    fast_ = Alarm{true, now_s_, count, rate, end_window_s, -1};
    const auto mark = [](auto& flags, std::int64_t index) {
      flags |= static_cast<std::remove_reference_t<decltype(flags)>>(1) << index;
    };
    // The window itself is part of the spike.
    for (std::int64_t back = 0; back <= window_s / minute_s && back < minutes_kept; ++back) {
      if (now_s_ / minute_s >= back) mark(spiked_minutes_, (now_s_ / minute_s - back) % minutes_kept);
    }
    for (const auto at : {now_s_, std::max<std::int64_t>(now_s_ - window_s, 0)}) {
      mark(spiked_hours_, at / hour_s % hours_kept);
      mark(spiked_days_, at / day_s % days_kept);
    }
    return SpikeChange{SpikeChange::What::opened,
                       SpikeChange::Kind::fast,
                       std::int64_t{end_window_s} * 1'000'000,
                       rate,
                       count,
                       now_s_ * 1'000'000,
                       false};
  };
  // Windows reach back no further than to the last alarm, or they would see its spike once more.
  const auto calm_s = now_s_ - calm_since_s_;
  std::uint64_t sum = 0;
  std::uint32_t reach = 0;
  for (std::size_t index = 0; index < second_windows.size() && second_windows[index] <= calm_s; ++index) {
    for (; reach < second_windows[index]; ++reach) {
      sum += seconds_[static_cast<std::size_t>((now_s_ - reach) % seconds_kept)];
    }
    if (sum >= second_thresholds_[index]) return open(second_windows[index], sum, baseline(1).rate());
  }
  sum = 0;
  reach = 0;
  const auto minute = now_s_ / minute_s;
  for (std::size_t index = 0; index < minute_windows.size() && minute_windows[index] * 60 <= calm_s; ++index) {
    const auto window = minute_windows[index];
    for (; reach < window; ++reach) sum += minutes_[static_cast<std::size_t>((minute - reach) % minutes_kept)];
    if (sum < minute_thresholds_[index]) continue;
    // Near enough to look closely: the window ends within a minute, and is as much shorter.
    const auto base = baseline(window);
    const auto length_s = (window - 1) * 60 + static_cast<std::uint32_t>(now_s_ % minute_s) + 1;
    if (static_cast<double>(sum) >= threshold(base, length_s, allowance(window * 60))) {
      return open(window * 60, sum, base.rate());
    }
  }
  return std::nullopt;
}

std::optional<SpikeChange> SpikeDetector::look_for_end() {
  if (!fast_.open) return std::nullopt;
  const auto window_s = fast_.window_s;
  const auto count = static_cast<double>(window_s <= 60 ? last_seconds(window_s) : last_minutes(window_s / 60));
  const double expected = fast_.rate * window_s;
  // Ordinary: at most half way to what would raise the alarm again by the ratio, and chance's share on top.
  const bool calm = count <= std::max(expected * (1 + options_.ratio) / 2, expected + 2 * std::sqrt(expected)) + 2;
  if (!calm) {
    fast_.calm_since_s = -1;
  } else if (fast_.calm_since_s < 0) {
    fast_.calm_since_s = now_s_;
  }
  // A day at another level is a new level.
  const bool gave_up = now_s_ - fast_.opened_s >= day_s;
  const bool over = fast_.calm_since_s >= 0 && now_s_ - fast_.calm_since_s >= std::int64_t{window_s} / 4;
  if (!over && !gave_up) return std::nullopt;
  SpikeChange out{SpikeChange::What::resolved,
                  SpikeChange::Kind::fast,
                  std::int64_t{fast_.window_s} * 1'000'000,
                  fast_.rate,
                  fast_.count,
                  fast_.opened_s * 1'000'000,
                  !over};
  fast_ = Alarm{};
  calm_since_s_ = now_s_;
  thresholds_of_minute_ = -1;
  if (!over) {
    spiked_minutes_ = 0;
    spiked_hours_ = 0;
  }
  return out;
}

std::optional<SpikeChange> SpikeDetector::look_at_days() {
  const auto day = now_s_ / day_s;
  if (day == looked_at_day_) return std::nullopt;
  const bool next = day == looked_at_day_ + 1;
  looked_at_day_ = day;
  if (!next) return std::nullopt;  // Days without a look have no story to tell.
  const auto begin_day = (start_s_ + day_s - 1) / day_s;
  const auto last = days_[static_cast<std::size_t>((day - 1) % days_kept)];
  double count = 0;
  double days = 0;
  for (auto at = day - 2; at >= std::max<std::int64_t>(begin_day, day - 7); --at) {
    const auto index = static_cast<std::size_t>(at % days_kept);
    if ((spiked_days_ >> index & 1) != 0) continue;
    count += days_[index];
    ++days;
  }
  if (days < 3) return std::nullopt;
  const double mean = count / days;
  SpikeChange out{SpikeChange::What::opened,
                  SpikeChange::Kind::slow,
                  day_s * 1'000'000,
                  mean / day_s,
                  last,
                  now_s_ * 1'000'000,
                  false};
  if (!slow_.open) {
    const bool spiked = (spiked_days_ >> ((day - 1) % days_kept) & 1) != 0;
    const bool grown = !spiked && last >= 30 && last >= options_.slow_ratio * mean &&
                       last >= improbable_count((count + 0.5) / days, count + 0.5, 1e-6);
    if (!grown) return std::nullopt;
    slow_ = Alarm{true, now_s_, last, mean / day_s, 0, -1};
    return out;
  }
  slow_.count += last;
  if (last > (1 + options_.slow_ratio) / 2 * mean) return std::nullopt;
  out.what = SpikeChange::What::resolved;
  out.baseline_per_s = slow_.rate;
  out.count = slow_.count;
  out.opened_us = slow_.opened_s * 1'000'000;
  slow_ = Alarm{};
  return out;
}

std::optional<SpikeChange> SpikeDetector::tick(std::int64_t now_us) {
  const auto second = now_us / 1'000'000;
  if (second <= now_s_) return std::nullopt;
  advance(second);
  if (auto change = look_for_end()) return change;
  return look_at_days();
}

std::optional<SpikeChange> SpikeDetector::add(std::int64_t now_us, std::uint32_t count) {
  auto change = tick(now_us);
  add_saturated(seconds_[static_cast<std::size_t>(now_s_ % seconds_kept)], count);
  add_saturated(minutes_[static_cast<std::size_t>(now_s_ / minute_s % minutes_kept)], count);
  add_saturated(hours_[static_cast<std::size_t>(now_s_ / hour_s % hours_kept)], count);
  add_saturated(days_[static_cast<std::size_t>(now_s_ / day_s % days_kept)], count);
  if (fast_.open) fast_.count += count;
  // One change at a time: what the next look finds, it tells then.
  return change ? change : look();
}

std::uint64_t SpikeDetector::recent(std::int64_t now_us, std::int64_t seconds) const {
  // The rings end at now_s_; what lies between that and now was empty.
  const auto passed = std::max<std::int64_t>(now_us / 1'000'000 - now_s_, 0);
  const auto left = seconds - passed;
  if (left <= 0) return 0;
  if (left <= 60) return last_seconds(static_cast<std::uint32_t>(left));
  if (left <= hour_s) return last_minutes(static_cast<std::uint32_t>((left + minute_s - 1) / minute_s));
  std::uint64_t sum = 0;
  const auto hour = now_s_ / hour_s;
  const auto hours = std::min<std::int64_t>((left + hour_s - 1) / hour_s, 24);
  for (std::int64_t back = 0; back < hours && hour >= back; ++back) {
    sum += hours_[static_cast<std::size_t>((hour - back) % hours_kept)];
  }
  return sum;
}

}  // namespace gf::error
