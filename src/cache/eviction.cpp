#include "cache/eviction.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace gf::cache {
namespace {

constexpr double short_half_life = 30;
constexpr double long_half_life = 300;
constexpr double gap_smoothing = 0.3;
/// A loss is forgotten by half within 230 requests, so that a change of traffic shows; and who leads is passed only by
/// who is better by a twentieth, so that two that are alike do not take turns. Chosen by the simulator.
constexpr double loss_decay = 0.997;
constexpr double challenge = 0.95;
/// Histories that are kept, of what is loaded and what is not.
constexpr std::size_t most_histories = 8192;

double per_byte(const UseHistory& entry) {
  return entry.reload_us / static_cast<double>(std::max<std::uint64_t>(entry.bytes, 1));
}

double age(const UseHistory& entry, std::uint64_t now) {
  return static_cast<double>(std::max<std::uint64_t>(now - std::min(entry.last_use, now), 1));
}

double decayed(double uses, double half_life, std::uint64_t requests) {
  return uses * std::exp2(-static_cast<double>(requests) / half_life);
}

}  // namespace

double keep_recent(const UseHistory& entry, std::uint64_t) { return static_cast<double>(entry.last_use); }

double keep_by_age(const UseHistory& entry, std::uint64_t now) { return per_byte(entry) / age(entry, now); }

double keep_by_uses_short(const UseHistory& entry, std::uint64_t now) {
  return per_byte(entry) * decayed(entry.uses_short, short_half_life, now - std::min(entry.last_use, now));
}

double keep_by_uses_long(const UseHistory& entry, std::uint64_t now) {
  return per_byte(entry) * decayed(entry.uses_long, long_half_life, now - std::min(entry.last_use, now));
}

double keep_by_next_use(const UseHistory& entry, std::uint64_t now) {
  const auto since = age(entry, now);
  double due = since;
  if (!entry.gap) {
    due = since + long_half_life / 10;  // Once is not yet a habit.
  } else if (since <= 1.5 * *entry.gap) {
    due = std::max(*entry.gap - since, 1.0);
  }  // Else it has broken its habit, and is due as its age says.
  return per_byte(entry) / due;
}

std::vector<KeepValue> default_keep_values() {
  return {keep_recent, keep_by_age, keep_by_uses_short, keep_by_uses_long, keep_by_next_use};
}

EvictionPolicy::EvictionPolicy(std::vector<KeepValue> values) {
  if (values.empty()) values.push_back(keep_recent);
  for (const auto value : values) shadows_.push_back({value});
}

void EvictionPolicy::used(Number entry, std::uint64_t bytes, double reload_us, std::uint64_t capacity) {
  ++now_;
  const auto [found, is_new] = histories_.try_emplace(entry);
  auto& history = found->second;
  for (auto& shadow : shadows_) {
    shadow.loss_us *= loss_decay;
    if (!is_new && history.bytes != bytes && shadow.entries.contains(entry)) {
      shadow.bytes = shadow.bytes - std::min(shadow.bytes, history.bytes) + bytes;
    }
  }
  history.bytes = bytes;
  history.reload_us = reload_us;
  if (shadows_.size() > 1) {
    for (auto& shadow : shadows_) admit(shadow, entry, capacity);
  }
  const auto passed = is_new ? 0 : now_ - history.last_use;
  history.uses_short = decayed(history.uses_short, short_half_life, passed) + 1;
  history.uses_long = decayed(history.uses_long, long_half_life, passed) + 1;
  if (!is_new) {
    const auto gap = static_cast<double>(passed);
    history.gap = history.gap ? *history.gap + gap_smoothing * (gap - *history.gap) : gap;
  }
  history.last_use = now_;
  if (shadows_.size() > 1) {
    const auto best = std::min_element(shadows_.begin(), shadows_.end(),
                                       [](const Shadow& a, const Shadow& b) { return a.loss_us < b.loss_us; });
    if (best->loss_us < challenge * shadows_[leader_].loss_us) {
      leader_ = static_cast<std::size_t>(best - shadows_.begin());
    }
  }
  if (histories_.size() > most_histories) {
    const auto oldest = std::min_element(histories_.begin(), histories_.end(), [](const auto& a, const auto& b) {
      return a.second.last_use < b.second.last_use;
    });
    forget(oldest->first);
  }
}

void EvictionPolicy::forget(Number entry) {
  const auto found = histories_.find(entry);
  if (found == histories_.end()) return;
  for (auto& shadow : shadows_) {
    if (shadow.entries.erase(entry) > 0) shadow.bytes -= std::min(shadow.bytes, found->second.bytes);
  }
  histories_.erase(found);
}

void EvictionPolicy::admit(Shadow& shadow, Number entry, std::uint64_t capacity) {
  const bool is_there = shadow.entries.contains(entry);
  const auto& history = histories_.at(entry);
  if (!is_there) shadow.loss_us += history.reload_us;
  // Whatever the order, what cannot fit is loaded each time.
  const auto room_for = is_there ? 0 : history.bytes;
  if (room_for > capacity) return;
  if (shadow.bytes + room_for > capacity) {
    std::vector<Number> candidates(shadow.entries.begin(), shadow.entries.end());
    if (is_there) std::erase(candidates, entry);
    order_by(candidates, shadow, false);
    for (const auto gone : pick(candidates, shadow.bytes + room_for - capacity)) {
      shadow.entries.erase(gone);
      shadow.bytes -= std::min(shadow.bytes, histories_.at(gone).bytes);
    }
  }
  if (is_there) return;
  shadow.entries.insert(entry);
  shadow.bytes += history.bytes;
}

void EvictionPolicy::order_by(std::vector<Number>& entries, const Shadow& shadow, bool by_shadow) const {
  // Known, held by the leader's own cache, value, number: the last so that equals have an order.
  using Rank = std::tuple<bool, bool, double, Number>;
  std::vector<Rank> ranks;
  ranks.reserve(entries.size());
  for (const auto entry : entries) {
    const auto found = histories_.find(entry);
    if (found == histories_.end()) {
      ranks.emplace_back(false, false, 0.0, entry);
    } else {
      ranks.emplace_back(true, by_shadow && shadow.entries.contains(entry), shadow.value(found->second, now_), entry);
    }
  }
  std::sort(ranks.begin(), ranks.end());
  for (std::size_t at = 0; at < ranks.size(); ++at) entries[at] = std::get<3>(ranks[at]);
}

void EvictionPolicy::order(std::vector<Number>& entries) const {
  order_by(entries, shadows_[leader_], shadows_.size() > 1);
}

std::vector<EvictionPolicy::Number> EvictionPolicy::pick(const std::vector<Number>& ordered,
                                                         std::uint64_t missing) const {
  const auto bytes_of = [&](Number entry) {
    const auto found = histories_.find(entry);
    return found == histories_.end() ? 0 : found->second.bytes;
  };
  std::vector<Number> out;
  std::uint64_t freed = 0;
  for (const auto entry : ordered) {
    if (freed >= missing) break;
    out.push_back(entry);
    freed += bytes_of(entry);
  }
  // The best kept of them first: what is not needed any more stays.
  for (auto at = out.size(); at-- > 0;) {
    const auto bytes = bytes_of(out[at]);
    if (bytes > freed - std::min(missing, freed)) continue;
    freed -= bytes;
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return out;
}

std::vector<EvictionPolicy::Number> EvictionPolicy::victims(std::vector<Number> candidates,
                                                            std::uint64_t missing) const {
  order(candidates);
  return pick(candidates, missing);
}

}  // namespace gf::cache
