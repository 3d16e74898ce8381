// Which entry goes first when memory is short: small functions that value what is kept, and a duel among them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace gf::cache {

/// What is known of one entry. Time is counted in requests, so that the same requests always make the same choices.
struct UseHistory {
  std::uint64_t bytes = 0;
  double reload_us = 0;         ///< Measured, as it is now.
  std::uint64_t last_use = 0;   ///< The request's number.
  double uses_short = 0;        ///< Uses, halved every 30 requests, as of last_use,
  double uses_long = 0;         ///< and every 300.
  std::optional<double> gap{};  ///< Requests from one use to the next, smoothed; empty after the first.
};

/// How much an entry is worth keeping at request `now`: the smallest goes first. Any function of this form can be put
/// in the place of ours.
using KeepValue = double (*)(const UseHistory&, std::uint64_t now);

/// The newest use.
double keep_recent(const UseHistory& entry, std::uint64_t now);
/// Reload time that a byte saves, by the age of the last use.
double keep_by_age(const UseHistory& entry, std::uint64_t now);
/// Reload time that a byte saves, by decayed uses: of late, and over long.
double keep_by_uses_short(const UseHistory& entry, std::uint64_t now);
double keep_by_uses_long(const UseHistory& entry, std::uint64_t now);
/// Reload time that a byte saves, by when the next use is due: what was just used in a loop goes first.
double keep_by_next_use(const UseHistory& entry, std::uint64_t now);

/// Those five, which the simulator chose (bench/compare memory): no one of them is good on every kind of traffic.
std::vector<KeepValue> default_keep_values();

/// Orders entries for eviction. With several functions each runs a cache of its own that holds nothing but names, of
/// the same capacity under the same requests, and the order is of the one whose cache would have cost least of late.
/// That is choosing the best expert in hindsight, as LeCaR and others do with regret (Vietri et al., HotStorage 2018);
/// here the loss is the reload time and the shadow caches are whole, since there are tens of entries and not millions.
/// Not synchronised; its owner guards it.
class EvictionPolicy {
 public:
  using Number = std::uint64_t;  ///< Of an entry, its owner's.

  explicit EvictionPolicy(std::vector<KeepValue> values = default_keep_values());

  /// The entry was asked for, whether it was there or had to be loaded. `capacity`: bytes for all entries.
  void used(Number entry, std::uint64_t bytes, double reload_us, std::uint64_t capacity);
  /// Nothing is known of it any more.
  void forget(Number entry);

  /// The order in which they go, the first first. Entries that are unknown go before all.
  void order(std::vector<Number>& entries) const;
  /// Of those in the order, as few as cover the missing bytes: what a later one makes unnecessary stays.
  std::vector<Number> victims(std::vector<Number> candidates, std::uint64_t missing) const;

  /// The function that leads now, by its place in the list.
  std::size_t leader() const { return leader_; }

 private:
  struct Shadow {
    KeepValue value;
    std::set<Number> entries{};
    std::uint64_t bytes = 0;
    double loss_us = 0;  ///< Reload time it would have cost, decayed.
  };

  void admit(Shadow& shadow, Number entry, std::uint64_t capacity);
  std::vector<Number> pick(const std::vector<Number>& ordered, std::uint64_t missing) const;
  void order_by(std::vector<Number>& entries, const Shadow& shadow, bool by_shadow) const;

  std::vector<Shadow> shadows_;
  std::map<Number, UseHistory> histories_;
  std::uint64_t now_ = 0;
  std::size_t leader_ = 0;
};

}  // namespace gf::cache
